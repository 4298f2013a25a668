# SPDX-License-Identifier: Apache-2.0
"""`terse run`: sentences through golden model and RTL, and what came out."""

import pathlib
from dataclasses import dataclass

import torch

from firmware.compiler import CompileError
from golden_model.model import NEVER
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from terse import catalog
from terse.errors import UserError
from terse.text import encode, gather

__all__ = ["Report", "SentenceReport", "golden_tensors", "prepare", "run"]


@dataclass(frozen=True)
class SentenceReport:
    """One row of the table; layers count from 1. `cycles` is None when the run stopped before the sentence was through."""

    text: str
    label: int | None
    prediction: int
    confidence: float
    logits: list
    exit_layer: int
    tokens: list
    dropped_at_layer: list
    tokens_per_layer: list
    entropy_per_layer: list
    cycles: int | None
    match: bool


@dataclass(frozen=True)
class Report:
    """What `terse run` shows; its fields are those of the JSON file, and what went wrong.

    jobs : queues, each in a process of its own; counters : of the hardware, by name, if it has them
    """

    model: str
    hw: str
    jobs: int
    bit_exact: bool
    tensors_compared: int
    elements_compared: int
    cycles_per_second: float
    total_cycles: int
    sentences: list
    failures: list
    names: tuple
    notes: list
    counters: dict

    def to_json(self):
        keys = (
            "model",
            "hw",
            "jobs",
            "bit_exact",
            "tensors_compared",
            "elements_compared",
            "cycles_per_second",
            "total_cycles",
            "counters",
        )
        return {key: getattr(self, key) for key in keys} | {
            "sentences": [vars(sentence) for sentence in self.sentences]
        }


def prepare(model, texts, pair=False, count=None, positions=None, truncate=False):
    """(checkpoint, sentences, notes): tokens of the texts, and what the user should know about them."""
    checkpoint = catalog.checkpoint(model)
    longest = min(checkpoint.model.positions, positions or checkpoint.model.positions)
    inputs = gather(model, texts, pair, count)
    sentences = encode(catalog.tokenizer(model, longest), inputs, longest, truncate)
    notes = []
    for number, sentence in enumerate(sentences, 1):
        if sentence.unknown:
            notes.append(
                f"Text {number}: not in the vocabulary, taken as <unk>: {' '.join(sentence.unknown)}"
            )
        if sentence.truncated:
            notes.append(f"Text {number}: cut to {longest} tokens")
    return checkpoint, sentences, notes


def run(
    texts=(),
    model="tiny",
    hw="ci",
    pair=False,
    count=None,
    slots=None,
    trace=None,
    truncate=False,
    watch=None,
    jobs=1,
):
    """Sentences through golden model and RTL, as one queue or `jobs` at a time -> Report; `watch` as in `sim.proof.check.check`."""
    config = catalog.hardware(hw)
    if slots is not None and not 1 <= slots <= config.slots:
        raise UserError(f"--slots must be in 1..{config.slots}, the slots of {hw}, not {slots}")
    checkpoint, sentences, notes = prepare(model, texts, pair, count, config.positions, truncate)
    if trace is not None and len(sentences) != 1:
        raise UserError(
            f"--trace writes the waveform of a single sentence, not of {len(sentences)}; give one TEXT or --sentences 1"
        )
    if not 1 <= jobs <= len(sentences):
        raise UserError(
            f"--jobs must be in 1..{len(sentences)}, the number of sentences, not {jobs}"
        )
    from sim.proof.parallel import check

    wave = (
        None if trace is None else pathlib.Path(trace) / f"{pathlib.Path(model).name}_{hw}.vcd.gz"
    )
    try:
        network = quantize(checkpoint, config.format)
        outcome = check(
            network, config, [(s.ids, s.segments) for s in sentences], jobs, slots, wave, watch
        )
    except CompileError as error:
        raise UserError(f"Model {model}, hardware {hw}: {error}") from error
    if wave:
        notes.append(f"Waveform: {wave}")
    rows = [_row(sentence, outcome, i, network) for i, sentence in enumerate(sentences)]
    speed = outcome.cycles / outcome.seconds if outcome.seconds else 0.0
    return Report(
        model,
        hw,
        jobs,
        outcome.bit_exact,
        outcome.tensors,
        outcome.elements,
        speed,
        outcome.cycles,
        rows,
        outcome.failures,
        outcome.names,
        notes,
        outcome.counters,
    )


def _row(sentence, outcome, i, network):
    golden, record = outcome.goldens[i], outcome.records[i] if outcome.records else None
    scale = 2.0 ** -network.frac["logits"]
    logits = [value * scale for value in golden.logits]
    dropped = [None if layer == NEVER else layer + 1 for layer in golden.dropped_at_layer]
    return SentenceReport(
        text=sentence.text,
        label=sentence.label,
        prediction=golden.predicted_class,
        confidence=float(torch.tensor(logits).softmax(0).max()),
        logits=logits,
        exit_layer=golden.exit_layer,
        tokens=list(sentence.pieces),
        dropped_at_layer=dropped,
        tokens_per_layer=list(golden.tokens_per_layer),
        entropy_per_layer=[value / 2**16 for value in golden.entropies],
        cycles=record.cycles if record else None,
        match=record is not None and i not in outcome.failed and -1 not in outcome.failed,
    )


def golden_tensors(texts, model="tiny", pair=False, count=None, truncate=False, fmt=None):
    """Arrays for `terse golden`: "I/NAME" of sentence I, "I/NAME.format" its fraction bits or meaning, "I/tokens", "I/segments"."""
    from golden_model.config import AF8

    checkpoint, sentences, notes = prepare(model, texts, pair, count, truncate=truncate)
    network = quantize(checkpoint, fmt or AF8)
    arrays = {}
    for i, sentence in enumerate(sentences):
        result = run_golden(network, sentence.ids, sentence.segments)
        arrays[f"{i}/tokens"], arrays[f"{i}/segments"] = sentence.ids, sentence.segments
        for name, tensor in result.tensors.items():
            arrays[f"{i}/{name}"] = tensor.numpy()
            arrays[f"{i}/{name}.format"] = tensor_format(network, name)
    return arrays, notes


def tensor_format(network, name):
    """A tensor's format as text."""
    plain = name.partition(".")[2] or name
    special = {
        "predict_exp": "unsigned Q1.16",
        "keep": "0 or 1",
        "rows": "original position",
        "entropy": "unsigned Q2.16, nats",
        "numerator": f"codes of {network.fmt}, exponent bias {network.code_bias['numerator']}",
        "denominator": "sum of decoded numerators",
        "feed_forward_norm": f"ACT, {network.frac['x']} fraction bits",
    }
    return special.get(plain) or f"ACT, {network.frac[plain]} fraction bits"
