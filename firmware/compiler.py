# SPDX-License-Identifier: Apache-2.0
"""Network and hardware configuration -> program, image, embedding image.

firmware/passes.py writes the program, firmware/buffers.py says where its tensors lie.
"""

from dataclasses import dataclass

import numpy as np

from firmware import isa
from firmware.assembler import Assembler, CompileError, Symbol
from firmware.constants import Memory, constant_words
from firmware.embedding_image import build_embedding, parse_embedding
from firmware.fit import problems, units_needed
from firmware.image import Layout, build_image
from firmware.passes import write_pass
from golden_model.counters import layer_work
from golden_model.hardware import UNITS, HardwareConfig

__all__ = ["CompileError", "CompiledModel", "Symbol", "compile_network"]


@dataclass(frozen=True)
class CompiledModel:
    """A compiled network.

    instructions, symbols : field values and `Symbol` (or None) by pc
    columns : by pc of a LINEAR, the `Columns` of its stream, one for each layer for the predictor's
    words : the instructions as in the image
    """

    hardware: HardwareConfig
    image: bytes
    embedding: bytes
    instructions: tuple
    symbols: tuple
    columns: dict
    words: tuple
    early_exit: bool


def compile_network(network, hardware, early_exit=None):
    """Compile a `golden_model.network.Network` for a `HardwareConfig`.

    early_exit : whether the program has the off-ramp's operations; by default, whether the exit
        threshold is above 0. A threshold that the host sets later only works with them.

    Raises CompileError.
    """
    reasons = problems(network, hardware)
    early_exit = network.exit_threshold > 0 if early_exit is None else early_exit
    if early_exit and "exit" not in hardware.units and network.exit_threshold == 0:
        reasons.append("unit exit must be present for early_exit=True")
    if reasons:
        raise CompileError(
            "Model does not fit the hardware:\n" + "\n".join(f"  {reason}" for reason in reasons)
        )
    asm = Assembler(network, hardware)
    write_pass(asm, early_exit)
    embedding = _embedding_image(network)
    words, image = _image(asm, early_exit, parse_embedding(embedding).hash)
    return CompiledModel(
        hardware,
        image,
        embedding,
        tuple(asm.instructions),
        tuple(asm.symbols),
        asm.columns,
        words,
        early_exit,
    )


def _image(asm, early_exit, embedding_hash):
    """(instructions as words, image)."""
    network, model, hardware = asm.network, asm.model, asm.hardware
    constants = constant_words(hardware, dict(_constants(network, hardware)))
    layout = Layout(len(asm.instructions), len(constants), tuple(map(len, asm.streams.values())))
    for pc, address in zip(asm.streams, layout.streams, strict=False):
        asm.instructions[pc]["address"] = address
    words = tuple(tuple(isa.pack(**values)) for values in asm.instructions)
    needed = units_needed(network) | {"exit": early_exit}
    image = build_image(
        layout,
        words,
        constants,
        list(asm.streams.values()),
        config_hash=hardware.config_hash,
        embedding_hash=embedding_hash,
        layers=model.layers,
        classes=model.classes,
        heads=len(network.live_heads),
        positions=model.positions,
        vocabulary=model.vocabulary,
        exit_threshold=network.exit_threshold,
        units=sum(1 << UNITS.index(name) for name, need in needed.items() if need),
        embedding_width=model.embedding,
    )
    return words, image


def _constants(network, hardware):
    """((Memory, index), word) of the network's parameters."""
    for number, name in enumerate(("embedding.norm", "attention.norm", "feed_forward.norm")):
        norm = network.norms[name]
        pairs = zip(norm.gamma.tolist(), norm.beta.tolist(), strict=True)
        for feature, (gamma, beta) in enumerate(pairs):
            word = gamma & 0xFFFF | (beta & 0xFFFF) << 16
            yield (Memory.NORM, number * hardware.widest + feature), word
    if "span" in hardware.units:
        for head, span in enumerate(network.span.tolist()):
            first = head * hardware.positions
            yield from (((Memory.SPAN, first + i), value) for i, value in enumerate(span))
    work = [value for pair in layer_work(network).values() for value in pair]
    for unit, memory, words in (
        ("drop", Memory.ETA, network.eta.tolist()),
        ("dvfs", Memory.DVFS, network.dvfs_table),
        ("counters", Memory.WORK, work),
    ):
        if unit in hardware.units:
            yield from (((memory, index), word) for index, word in enumerate(words))


def _embedding_image(network):
    word, position, segment = (
        np.asarray(network.tables[name].codes) for name in ("word", "position", "segment")
    )
    # A model without segments has only the first row; the machine looks up both.
    spare = np.zeros((2 - len(segment), segment.shape[1]), segment.dtype)
    return build_embedding(word, position, np.concatenate([segment, spare]))
