# SPDX-License-Identifier: Apache-2.0
"""Queue descriptor, token and result record, word by word: the one place that knows their layout.

The RTL, the host of the co-simulation and, by firmware/generate.py, the C driver and
docs/records.md are made from these tables. Words are 32 bits, little-endian.
"""

from dataclasses import dataclass

import numpy as np

from firmware.bits import Bits
from firmware.error_codes import Error
from golden_model.config import MOST_CLASSES, NEVER
from golden_model.hardware import ceil_div

__all__ = [
    "DESCRIPTOR",
    "RECORD",
    "TOKEN",
    "Entry",
    "Record",
    "FieldTable",
    "descriptor_bytes",
    "token_bytes",
]


@dataclass(frozen=True)
class Entry:
    """One word of a table, or an array of `count` elements of `bits` bits each.

    count : a number, or the name of the `HardwareConfig`'s parameter that says how many
    fields : `Bits` of each word, where it holds more than one thing
    """

    name: str
    doc: str
    bits: int = 32
    signed: bool = False
    count: int | str = 1
    fields: tuple = ()

    def __getitem__(self, name):
        """`Bits` of a field."""
        return next(bits for bits in self.fields if bits.name == name)

    def elements(self, config):
        """How many there are on a `HardwareConfig`."""
        return getattr(config, self.count) if isinstance(self.count, str) else self.count


@dataclass(frozen=True)
class FieldTable:
    """Entries one behind the other; the whole is filled with zeros to a multiple of `unit` words.

    An array of elements below 32 bits begins a word and may only be the last entry.
    """

    entries: tuple
    unit: int = 1

    def __getitem__(self, name):
        return next(entry for entry in self.entries if entry.name == name)

    def place(self, name):
        """(words, names of the parameters that count as many words) before an entry."""
        before = self.entries[: self.entries.index(self[name])]
        fixed = sum(entry.count for entry in before if isinstance(entry.count, int))
        return fixed, tuple(entry.count for entry in before if isinstance(entry.count, str))

    def word(self, name, config=None):
        """Number of an entry's first word; `config` matters behind an array that depends on it."""
        fixed, parameters = self.place(name)
        return fixed + sum(getattr(config, parameter) for parameter in parameters)

    def words(self, config=None):
        """Words of the whole."""
        last = self.entries[-1]
        end = self.word(last.name, config) + ceil_div(last.bits * last.elements(config), 32)
        return ceil_div(end, self.unit) * self.unit


TOKEN = Entry(
    "TOKEN",
    "A token of a sentence.",
    fields=(Bits("ID", 0, 31, "row of the vocabulary"), Bits("SEGMENT", 31, 1, "0 or 1")),
)

DESCRIPTOR = FieldTable(
    (
        Entry(
            "ADDRESS",
            "Byte address of its tokens, a word each; a multiple of 32, in the input window.",
        ),
        Entry("COUNT", "Its tokens."),
        Entry("DEADLINE", "Cycles of the highest operating point that it may take; 0 none."),
        Entry("TAG", "Any number; the result record repeats it."),
    )
)

RECORD = FieldTable(
    (
        Entry(
            "STATUS",
            "0, or the error code of a sentence that failed: then TAG, TOKENS and DETAIL count.",
        ),
        Entry("TAG", "That of the descriptor."),
        Entry(
            "VERDICT",
            "What the sentence was taken for, and where.",
            fields=(
                Bits("PREDICTED_CLASS", 0, 8, "the largest logit's, the lowest of equal ones"),
                Bits("EXIT_LAYER", 8, 8, "the last layer that it went through, from 1"),
                Bits("TOKENS", 16, 16, "its tokens, before any drop"),
            ),
        ),
        Entry("CYCLES", "From its admission to its result."),
        Entry("DETAIL", "Of a failed sentence: the first token that failed, from 0."),
        Entry("PASSES", "Passes of the layer from its admission to its result."),
        Entry("PREDICTED_EXIT", "Exit layer that the DVFS table predicted; 0 without prediction."),
        Entry("RESERVED", "0."),
        Entry("LOGITS", "By class, sign-extended; 0 beyond the model's.", 32, True, MOST_CLASSES),
        Entry("ENTROPIES", "By layer, Q2.16 nats; 0 where none was computed.", count="layers"),
        Entry(
            "TOKENS_PER_LAYER",
            "By layer; 0 where the program computes no drop: everybody stayed.",
            count="layers",
            fields=(
                Bits("ENTERING", 0, 16, "tokens that entered the layer"),
                Bits("LIVE", 16, 16, "tokens that its drop left"),
            ),
        ),
        Entry(
            "DROPPED_AT_LAYER",
            f"By position: the layer, from 0, at which its token was dropped; {NEVER:#x} never.",
            bits=8,
            count="positions",
        ),
    ),
    unit=8,
)


def descriptor_bytes(address, count, deadline, tag):
    """The bytes of a descriptor."""
    return np.array([address, count, deadline, tag], "<u4").tobytes()


def token_bytes(ids, segments):
    """The bytes of a sentence's tokens."""
    shift = TOKEN["SEGMENT"].low
    return (np.asarray(ids, "<u4") | np.asarray(segments, "<u4") << shift).tobytes()


@dataclass(frozen=True)
class Record:
    """A result record as Python sees it; the names are those of `RECORD`.

    logits : 16, sign-extended; entropies, entering, live : one for each layer that the sentence
    went through; dropped_at_layer : one for each token
    """

    status: Error
    tag: int
    predicted_class: int
    exit_layer: int
    tokens: int
    cycles: int
    detail: int
    passes: int
    predicted_exit: int
    logits: tuple
    entropies: tuple
    entering: tuple
    live: tuple
    dropped_at_layer: tuple

    @classmethod
    def parse(cls, config, data):
        """The record in `data`, RECORD.words(config) words as bytes or as an array of uint8."""
        words = np.frombuffer(bytes(data), "<u4")

        def word(name):
            return int(words[RECORD.word(name)])

        def array(name, kind, count):
            return np.frombuffer(words[RECORD.word(name, config) :], kind)[:count].tolist()

        verdict = RECORD["VERDICT"]
        count = verdict["TOKENS"].take(word("VERDICT"))
        layer = verdict["EXIT_LAYER"].take(word("VERDICT"))
        entering, live = _live(array("TOKENS_PER_LAYER", "<u4", layer), count)
        return cls(
            status=Error(word("STATUS")),
            tag=word("TAG"),
            predicted_class=verdict["PREDICTED_CLASS"].take(word("VERDICT")),
            exit_layer=layer,
            tokens=count,
            cycles=word("CYCLES"),
            detail=word("DETAIL"),
            passes=word("PASSES"),
            predicted_exit=word("PREDICTED_EXIT"),
            logits=tuple(array("LOGITS", "<i4", MOST_CLASSES)),
            entropies=tuple(array("ENTROPIES", "<u4", layer)),
            entering=entering,
            live=live,
            dropped_at_layer=tuple(array("DROPPED_AT_LAYER", "u1", count)),
        )


def _live(words, tokens):
    """(entering, live) by layer; a word of 0 is a layer without a drop."""
    entering_bits, live_bits = (RECORD["TOKENS_PER_LAYER"][name] for name in ("ENTERING", "LIVE"))
    entering, live = [], []
    for word in words:
        entering.append(entering_bits.take(word) if word else tokens)
        tokens = live_bits.take(word) if word else tokens
        live.append(tokens)
    return tuple(entering), tuple(live)
