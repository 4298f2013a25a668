# SPDX-License-Identifier: Apache-2.0
"""The image's constants: every word of the machine's parameter memories, one after another.

They have no addresses, so an image cannot leave a word out and run on what one before it has left.
"""

import enum

from firmware.error_codes import Error
from firmware.image import require
from golden_model import dvfs

__all__ = [
    "WORK_WORDS",
    "Memory",
    "constant_count",
    "constant_words",
    "memory_words",
    "name_constants",
]

NORMS = 3  # embedding, attention, feed forward
WORK_WORDS = 8  # useful, zeros, heads, dense; each of a row and of a pair


class Memory(enum.IntEnum):
    """The memories, in the order of the image; what a word's index and data mean.

    largest : what its data may be at most
    """

    index: str
    data: str
    largest: int

    def __new__(cls, value: int, index: str, data: str, largest: int) -> "Memory":
        member = int.__new__(cls, value)
        member._value_ = value
        member.index = index
        member.data = data
        member.largest = largest
        return member

    NORM = 0, "set * `widest` + feature", "gamma + 2^16 beta, 16 bits signed each", (1 << 32) - 1
    SPAN = 1, "live head * `positions` + distance", "Q0.8, 256 = 1", 1 << 8
    ETA = 2, "layer", "Q1.16", 1 << 16
    DVFS = 3, "entropy bin", "predicted exit layer", (1 << 8) - 1
    WORK = (
        4,
        "2 * (0 useful, 1 zeros, 2 heads, 3 dense) + (0 a token, 1 a pair)",
        "multiplications",
        (1 << 32) - 1,
    )


def memory_words(hardware):
    """{memory: words} of those that a hardware has, in the image's order."""
    units = {Memory.SPAN: "span", Memory.ETA: "drop", Memory.DVFS: "dvfs", Memory.WORK: "counters"}
    words = {
        Memory.NORM: NORMS * hardware.widest,
        Memory.SPAN: hardware.heads * hardware.positions,
        Memory.ETA: hardware.layers,
        Memory.DVFS: dvfs.BINS,
        Memory.WORK: WORK_WORDS,
    }
    return {
        memory: count
        for memory, count in words.items()
        if memory not in units or units[memory] in hardware.units
    }


def constant_count(hardware):
    """Words of all memories of a hardware."""
    return sum(memory_words(hardware).values())


def constant_words(hardware, constants):
    """The words of all memories from {(memory, index): data}; what is not named is 0."""
    return [
        constants.get((memory, index), 0)
        for memory, count in memory_words(hardware).items()
        for index in range(count)
    ]


def name_constants(hardware, words):
    """{memory: its words}. Raises ImageError where a word is more than its memory may hold."""
    named = {}
    rest = list(words)
    for memory, count in memory_words(hardware).items():
        named[memory], rest = rest[:count], rest[count:]
        for index, word in enumerate(named[memory]):
            require(
                word <= memory.largest,
                Error.IMAGE_MODEL,
                f"Image constant {index} of {memory.name} must be in 0..{memory.largest}, "
                f"not {word}",
            )
    return named
