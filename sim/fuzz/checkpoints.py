# SPDX-License-Identifier: Apache-2.0
"""Mutants of checkpoint folders: config.json's values and the tensors of model.safetensors.

What is read must become integers, a program and a folder that is read again, or be refused by one
of them in one line.
"""

import json
import tempfile
from pathlib import Path

from compress.huggingface.albert import hardware_for_albert
from firmware.compiler import CompileError, compile_network
from firmware.show import describe
from golden_model.checkpoint import CheckpointError, load
from golden_model.config import FORMATS, MODELS, ModelConfig
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.fuzz.mutate import change_json, change_text
from sim.fuzz.target import FuzzTarget
from sim.fuzz.tensors import change_tensors, pack_tensors, read_table

__all__ = ["CHECKPOINT_TARGET", "in_folder"]

KEYS = ("labels", "ranges", "format", "dvfs_table", "exit_threshold", "metrics", "command")
RANGE = (0, 1e-45, 1e-40, 1e-38, 1e-30, 1e-9, 1e-3, 1, 7.5, 100, 1e4, 1e6, 1e9, 2**30)
SMALLEST = ModelConfig(1, 16, 16, 1, 16, 9, 5, 2, predictor=16)
UNEVEN = ModelConfig(3, 32, 48, 3, 96, 40, 11, 5, segments=1, predictor=16, activation="gelu")


def in_folder(files, action):
    """Call `action` with a folder that holds {name: bytes} alone."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        action(Path(folder))


def _bases():
    """[(config.json's values, table of the tensors)]."""
    found = []

    def keep(folder):
        values = json.loads((folder / "config.json").read_text())
        found.append((values, read_table((folder / "model.safetensors").read_bytes())))

    for number, model in enumerate((SMALLEST, MODELS["nano"], UNEVEN)):
        checkpoint = random_checkpoint(model, seed=number, dead_heads=model.heads > 1)
        checkpoint.labels = tuple("abcdefgh"[: model.classes])
        in_folder({}, lambda folder, one=checkpoint: (one.save(folder), keep(folder)))
    return found


def _ranges(rng, values):
    """Ranges of any size, all of them numbers."""
    for _ in range(rng.choice((1, 1, 2, 16))):
        values["ranges"][rng.choice(list(values["ranges"]))] = rng.choice(RANGE)


def _config(rng, values):
    """The text of changed values."""
    values = json.loads(json.dumps(values))
    way = rng.random()
    if way < 0.3:
        _ranges(rng, values)
    elif way < 0.4:
        one = rng.choice(FORMATS)
        values["format"] = {"bits": one.bits, "exponent": one.exponent}
    elif way < 0.6:
        change_json(rng, values["model"], ("groups", "segments"))
    else:
        change_json(rng, values, KEYS)
    return change_text(rng, values)


def _mutate(rng, prepared):
    """({file: bytes}, number format of `quantize`, None for its own)."""
    values, table = rng.choice(prepared)
    config, weights = json.dumps(values).encode(), None
    way = rng.random()
    if way < 0.6:
        config = _config(rng, values)
    if way > 0.4:
        weights = change_tensors(rng, table)
    files = {"config.json": config, "model.safetensors": weights or pack_tensors(table)}
    if rng.random() < 0.005:
        del files[rng.choice(list(files))]
    return files, rng.choice((None, None, *FORMATS[:: rng.randint(1, 4)]))


def _read(mutant):
    files, fmt = mutant
    in_folder(files, lambda folder: _use(folder, fmt))


def _use(folder, fmt):
    """Read, written and read again; integers, a program, one sentence."""
    checkpoint = load(folder)
    checkpoint.save(folder / "again")
    again = load(folder / "again")
    assert (again.model, again.labels, again.format) == (
        checkpoint.model,
        checkpoint.labels,
        checkpoint.format,
    )
    checkpoint.dense()
    network = quantize(checkpoint, fmt or checkpoint.format)
    sentences = random_sentences(checkpoint.model, 1, low=min(4, checkpoint.model.positions))
    run(network, *sentences[0])
    hardware = hardware_for_albert(checkpoint.model, format=network.fmt)
    program = compile_network(network, hardware)
    describe(program.image, hardware)
    describe(program.embedding)


CHECKPOINT_TARGET = FuzzTarget(
    "checkpoint", _bases, _mutate, _read, (CheckpointError, CompileError)
)
