# SPDX-License-Identifier: Apache-2.0
"""The accelerator's program: opcodes, enumerations and instruction fields, in one place.

An instruction is eight little-endian 32-bit words. `FIELDS` is the only description of where a
field lies: the compiler, the RTL's decoder and `terse image show` all read it. Numbers are unsigned
unless the field says otherwise.
"""

import enum
from dataclasses import dataclass

WORDS = 8  # 32-bit words in one instruction
BYTES = 4 * WORDS
CAPACITY = 64  # instructions that the hardware holds
STACKED_BITS = 16  # of `beats` where there is a weight stream for each layer


class Opcode(enum.IntEnum):
    HALT = 0  # queue done: interrupt
    ADMIT = 1  # admit sentences while rows and slots are free; halts when nothing is left
    GROUP = (
        2  # select the slots of the next pending layer; when none is pending, continue at `target`
    )
    LINEAR = 3  # one weight operation over the selected rows
    NORM = 4  # residual add and LayerNorm, or a plain move, over the selected rows
    DROP = 5  # contribution softmax and token drop of the selected slots
    ATTEND = 6  # scores, softmax, context of the selected slots
    EXIT = 7  # entropy, exit decision, result of the selected slots; the others move on one layer
    LOOP = 8  # continue at `target`


@dataclass(frozen=True)
class Engine:
    """Who does an opcode's work.

    `Core` or `Datapath` has a block of this `name`, with the ports of hw/engine.py.
    """

    opcode: Opcode
    name: str
    followed: bool = False  # the next operation may start when this one has sent all, not ended
    barrier: bool = False  # it changes which slots are resident, or at which layer


# In the order of the bits that `Issue` and the engines exchange. Opcodes without a row are the
# sequencer's own.
ENGINES = (
    Engine(Opcode.ADMIT, "admission", barrier=True),
    Engine(Opcode.LINEAR, "linear", followed=True),
    Engine(Opcode.NORM, "norm", followed=True),
    Engine(Opcode.DROP, "drop"),
    Engine(Opcode.ATTEND, "attention"),
    Engine(Opcode.EXIT, "exit", barrier=True),
)


class Select(enum.IntEnum):
    """Which slots' rows an operation works on. An operation with nothing selected is skipped."""

    ALL = 0
    NEW = 1  # admitted in this pass
    GROUP = 2  # chosen by the last GROUP
    NOT_LAST = 3  # below the model's last layer
    LAST = 4  # at the model's last layer


class Source(enum.IntEnum):
    STATE = 0  # residual stream, gathered through the row table; ACT, encoded when loaded
    CLS = 1  # the same, only the [CLS] row of each selected slot
    NORMED = 2  # tile buffer of LayerNorm outputs; ACT, encoded when loaded
    CODES = 3  # tile buffer of codes


class Target(enum.IntEnum):
    SUM = 0  # ACT tile buffer, input of NORM
    CODES = 1  # code tile buffer (queries, context, hidden)
    KEYS = 2  # code tile buffer of keys
    VALUES = 3  # code buffer of values, one row a word
    SCORES = 4  # ACT, one feature a row: predictor values; logits (one tile of [CLS] rows)
    NORMED = 5  # NORM only
    STATE = 6  # NORM only


class Function(enum.IntEnum):
    NONE = 0
    GELU_NEW = 1
    GELU = 2
    TANH = 3


@dataclass(frozen=True)
class Field:
    word: int
    low: int
    width: int
    signed: bool = False


FIELDS = {
    "opcode": Field(0, 0, 8),
    "select": Field(0, 8, 4),
    "source": Field(0, 12, 4),
    "target_buffer": Field(0, 16, 4),
    "function": Field(0, 20, 4),
    "residual": Field(0, 24, 1),  # NORM: add the residual (from STATE or NORMED, by `source`)
    "normalize": Field(0, 25, 1),  # NORM: 0 only moves
    "final": Field(0, 26, 1),  # EXIT: every selected slot ends here
    "cls": Field(
        0, 27, 1
    ),  # LINEAR: rows are [CLS] rows, one per selected slot (CODES made by a CLS operation)
    "norm_set": Field(
        0, 28, 2
    ),  # NORM: which gamma/beta set (0 embedding, 1 attention, 2 feed forward)
    "skip_sum": Field(0, 30, 1),  # NORM: the residual alone, nothing of SUM is read
    "follow": Field(
        0, 31, 1
    ),  # LINEAR, NORM: may begin while the one before it ends, and waits for what that one makes
    "address": Field(1, 0, 32),  # LINEAR: byte offset of the weight stream in the image
    "beats": Field(2, 0, 32),  # LINEAR: length of the weight stream in bus words
    "reduction": Field(
        3, 0, 16
    ),  # LINEAR: K; NORM: features; ATTEND: head dimension; EXIT: classes
    "groups": Field(
        3, 16, 16
    ),  # LINEAR: groups of P columns; ATTEND: live heads; EXIT: 1 decide, 0 only move on
    "block": Field(4, 0, 8),  # LINEAR: groups held in the weight buffer at once
    "shift": Field(
        4, 8, 6
    ),  # LINEAR: accumulator -> ACT; NORM: product with gamma -> ACT; ATTEND: accumulator -> score
    "align": Field(
        4, 14, 6, True
    ),  # LINEAR: ACT -> function input; NORM: residual -> sum (round_shift amount)
    "encode": Field(
        4, 20, 8, True
    ),  # offset given to the ACT encoder of the loaded operand, see `store_encode`
    "stacked": Field(
        4, 28, 1
    ),  # LINEAR: a weight stream for each layer, one behind the other, each 32-byte aligned
    "source_base": Field(
        5, 0, 24
    ),  # word offset in the source buffer; address = base + tile * stride + feature
    "store_encode": Field(5, 24, 8, True),  # offset of the encoder before a code buffer
    "target_base": Field(6, 0, 24),
    "source_stride": Field(7, 0, 16),
    "target_stride": Field(7, 16, 16),
    # Overlays, for opcodes that leave the LINEAR words unused.
    "target": Field(1, 0, 16),  # GROUP, LOOP: instruction number
    "score_align": Field(
        1, 0, 6, True
    ),  # ATTEND: ACT score -> exp input; DROP: predictor value; EXIT: logit
    "context_shift": Field(1, 8, 8),  # ATTEND: accumulator * reciprocal -> ACT
    "word_shift": Field(1, 0, 6, True),  # ADMIT: decoded word, position, segment -> embed_sum
    "position_shift": Field(1, 6, 6, True),
    "segment_shift": Field(1, 12, 6, True),
}


def pack(**values):
    """Eight 32-bit words from field values; fields not named are zero.

    Raises ValueError when a value does not fit its field.
    """
    words = [0] * WORDS
    for name, value in values.items():
        field = FIELDS[name]
        low = -(1 << (field.width - 1)) if field.signed else 0
        high = (1 << (field.width - field.signed)) - 1
        if not low <= int(value) <= high:
            raise ValueError(f"Instruction field {name} must be in {low}..{high}, not {int(value)}")
        words[field.word] |= (int(value) & ((1 << field.width) - 1)) << field.low
    return words


def unpack(words, name):
    """The value of one field of an instruction."""
    field = FIELDS[name]
    value = (words[field.word] >> field.low) & ((1 << field.width) - 1)
    return value - (1 << field.width) if field.signed and value >> (field.width - 1) else value
