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


class Coded(enum.IntEnum):
    """A number of an instruction's field and, as `doc`, what it means."""

    doc: str

    def __new__(cls, value: int, doc: str) -> "Coded":
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member


class Opcode(Coded):
    # 0 is none of them: memory that reads as zeros is no program.
    ADMIT = (
        1,
        "Admit sentences while rows and slots are free; where none is left the queue is done.",
    )
    GROUP = 2, "Select the slots of the next pending layer; if none is pending, go to `target`."
    LINEAR = 3, "One weight operation over the selected rows."
    NORM = 4, "Residual add and LayerNorm, or a plain move, of the selected rows."
    DROP = 5, "Contribution softmax and token drop of the selected slots."
    ATTEND = 6, "Scores, softmax and context of the selected slots."
    EXIT = 7, "Entropy, decision and result of the selected slots; those that stay move on a layer."
    LOOP = 8, "Go to `target`."


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


class Select(Coded):
    """Which slots' rows an operation works on. An operation with nothing selected is skipped."""

    ALL = 0, "All resident slots."
    NEW = 1, "Those admitted in this pass."
    GROUP = 2, "Those that the last GROUP chose."
    NOT_LAST = 3, "Those below the model's last layer."
    LAST = 4, "Those at the model's last layer."


class Source(Coded):
    STATE = 0, "The residual stream, gathered through the row table; encoded when loaded."
    CLS = 1, "The same, only the [CLS] row of each selected slot."
    NORMED = 2, "LayerNorm's results; encoded when loaded."
    CODES = 3, "Codes, as they are."


class Target(Coded):
    SUM = 0, "ACT, what a NORM adds."
    CODES = 1, "Codes: queries, context, hidden features, pooled rows."
    KEYS = 2, "Codes of keys."
    VALUES = 3, "Codes of values, P features of a row in a word."
    SCORES = 4, "ACT: predictor values, or the logits of [CLS] rows."
    NORMED = 5, "ACT; NORM only."
    STATE = 6, "ACT, the residual stream; NORM only."


class Function(Coded):
    NONE = 0, "None."
    GELU_NEW = 1, "GELU by its tanh formula."
    GELU = 2, "GELU by the error function."
    TANH = 3, "tanh."


@dataclass(frozen=True)
class Field:
    """Bits of an instruction; `doc` says what they mean, for every opcode that has them."""

    word: int
    low: int
    width: int
    doc: str
    signed: bool = False


FIELDS = {
    "opcode": Field(0, 0, 8, "A number of `Opcode`."),
    "select": Field(0, 8, 4, "Whose rows: a number of `Select`."),
    "source": Field(0, 12, 4, "Buffer of the operands: a number of `Source`."),
    "target_buffer": Field(0, 16, 4, "Buffer of the results: a number of `Target`."),
    "function": Field(0, 20, 4, "Applied to the results: a number of `Function`."),
    "residual": Field(0, 24, 1, "Add the residual, from STATE or NORMED by `source`."),
    "normalize": Field(0, 25, 1, "1 LayerNorm, 0 only move."),
    "final": Field(0, 26, 1, "Every selected slot ends here."),
    "cls": Field(
        0,
        27,
        1,
        "The rows are [CLS] rows, one for each selected slot, in CODES by a CLS operation.",
    ),
    "norm_set": Field(0, 28, 2, "Set of gamma and beta: 0 embedding, 1 attention, 2 feed forward."),
    "skip_sum": Field(0, 30, 1, "The residual alone; nothing of SUM is read."),
    "follow": Field(
        0, 31, 1, "It may begin while the one before it ends, and waits for what that one makes."
    ),
    "address": Field(1, 0, 32, "Byte offset of the weight stream in the image."),
    "beats": Field(
        2, 0, 32, "Length of the weight stream (with `stacked` of one layer's) in bus words."
    ),
    "reduction": Field(
        3, 0, 16, "LINEAR: K. ADMIT, NORM: features. ATTEND: a head's features. EXIT: classes."
    ),
    "groups": Field(
        3,
        16,
        16,
        "LINEAR: groups of P columns. ATTEND: live heads. EXIT: 1 decide, 0 only move on.",
    ),
    "block": Field(4, 0, 8, "Groups held in the weight rings at once."),
    "shift": Field(
        4,
        8,
        6,
        "Right shift: LINEAR accumulator to ACT, NORM product with gamma to "
        "ACT, ATTEND accumulator to score.",
    ),
    "align": Field(
        4,
        14,
        6,
        "Amount of `round_shift`: LINEAR result to the function's input, NORM "
        "residual to the sum's format.",
        True,
    ),
    "encode": Field(
        4, 20, 8, "Encoder of the loaded operand: its binary point + bias b of the codes.", True
    ),
    "stacked": Field(
        4,
        28,
        1,
        "A weight stream for each layer, one behind the other, each at a multiple of 32 bytes.",
    ),
    "source_base": Field(
        5, 0, 24, "Word offset in the source buffer: address = base + tile * stride + feature."
    ),
    "store_encode": Field(
        5, 24, 8, "Encoder before a code buffer: binary point + bias b of the codes.", True
    ),
    "target_base": Field(
        6, 0, 24, "Word offset in the target buffer; address as in `source_base`."
    ),
    "source_stride": Field(7, 0, 16, "Words from a tile to the next one in the source buffer."),
    "target_stride": Field(7, 16, 16, "Words from a tile to the next one in the target buffer."),
    # Overlays, for opcodes that leave the LINEAR words unused.
    "target": Field(1, 0, 16, "Instruction number."),
    "score_align": Field(
        1,
        0,
        6,
        "`round_shift` to the exponential's input: of ATTEND's score, DROP's value, EXIT's logit.",
        True,
    ),
    "context_shift": Field(1, 8, 8, "Right shift of accumulator * reciprocal to ACT."),
    "word_shift": Field(1, 0, 6, "`round_shift` of the decoded word row to embed_sum.", True),
    "position_shift": Field(1, 6, 6, "The same of the position row.", True),
    "segment_shift": Field(1, 12, 6, "The same of the segment row.", True),
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
