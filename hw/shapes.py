# SPDX-License-Identifier: Apache-2.0
"""Signal shapes by name, the number formats of docs/numerics.md among them: no width is a literal.

A name says what a number means, not how wide it is: two names of one width stay two names, because
either may change alone. What depends on the machine's or the model's size is a function of the
config (HardwareConfig) and is as wide as that size asks; the others are as wide as the field of an
instruction, a register or a record that brings them, whatever the machine's size.
"""

from amaranth import Cat, signed, unsigned
from amaranth.lib import data
from amaranth.utils import ceil_log2

from firmware.isa import FIELDS
from golden_model.fixed import ACT_BITS
from golden_model.formats import (
    ETA_FRAC,
    EXP_FRAC,
    EXP_IN_BITS,
    FACTOR_BITS,
    MANTISSA_FRAC,
    SPAN_FRAC,
    THRESHOLD_BITS,
)


def field(name):
    """An instruction's field of firmware/isa.py."""
    entry = FIELDS[name]
    return signed(entry.width) if entry.signed else unsigned(entry.width)


def fields_layout(entry):
    """The fields of a word of firmware/registers.py or firmware/record.py, in lower case."""
    layout = data.StructLayout({bits.name.lower(): bits.width for bits in entry.fields})
    if any(layout[bits.name.lower()].offset != bits.low for bits in entry.fields):
        raise ValueError(f"Fields of {entry.name} must follow each other without gaps")
    return layout


def fields_value(entry, **values):
    """The word whose fields have these values, as wide as they are."""
    for bits in entry.fields:
        if len(values[bits.name.lower()]) != bits.width:
            raise ValueError(f"{bits.name} of {entry.name} must have {bits.width} bits")
    return Cat(values[bits.name.lower()] for bits in entry.fields)


def table_layout(table):
    """The words of a table of firmware/record.py, in lower case."""
    return data.StructLayout({entry.name.lower(): WORD for entry in table.entries})


def index(count):
    """A number in 0 .. count - 1, at least one bit."""
    return unsigned(max(1, ceil_log2(count)))


# Numbers with a binary point, as golden_model/formats.py defines them.
ACT = signed(ACT_BITS)  # a value of the network; its tensor says where the point is
EXPONENTIAL = unsigned(EXP_FRAC + 1)  # Q1.16, 1.0 exact
DISTANCE = unsigned(EXP_IN_BITS)  # below the maximum, 11 fraction bits: exp's argument
MANTISSA = unsigned(MANTISSA_FRAC + 1)  # 2^15 .. 2^16; 0 for the function of 0
FACTOR = signed(FACTOR_BITS)  # what is multiplied by a mantissa or by gamma
SPAN = unsigned(SPAN_FRAC + 1)  # Q0.8, 256 = 1
ETA = unsigned(ETA_FRAC + 1)  # Q1.16, 1.0 exact
THRESHOLD = unsigned(THRESHOLD_BITS)  # Q2.16 nats; the reported entropy too

# Amounts by which numbers are shifted.
SHIFT = field("shift")  # right, accumulator or product to ACT
ALIGN = field("align")  # right, ACT to a function's input; negative: left
CONTEXT_SHIFT = field("context_shift")  # right, accumulator * reciprocal to ACT
EMBEDDING_SHIFT = field("word_shift")  # right, a decoded embedding to ACT; negative: left
OFFSET = field("encode")  # of the encoder: fraction bits plus the tensor's bias

# Choices of an instruction.
SOURCE = field("source")  # firmware.isa.Source
TARGET = field("target_buffer")  # firmware.isa.Target
FUNCTION = field("function")  # firmware.isa.Function

# What is counted, in the width of the instruction, register or record that names it.
TILE = unsigned(16)  # a tile of the selected rows
ROW = unsigned(16)  # a row, logical or physical; a key of a sentence
EMBEDDING_ROW = unsigned(32)  # of the embedding image: of a word, a position or a segment
ROWS = unsigned(16)  # live ones, of all slots
POSITION = unsigned(16)  # of a token in its sentence
LENGTH = unsigned(16)  # tokens of a sentence, or those of them that are left
FEATURE = unsigned(16)  # of a row; `reduction` is as many
COLUMN = unsigned(16)  # of a weight matrix: the feature where it is stored, or NOWHERE
GROUPS = field("groups")  # groups of P columns of an operation
UNDER_WAY = unsigned(8)  # commands that the array has not ended
BLOCK = field("block")  # groups of P columns that the weight buffers hold at once
SLOT = unsigned(8)
HEAD = unsigned(8)
LAYER = unsigned(8)
CLASS = unsigned(8)  # a class, its logit's number
SENTENCE = unsigned(32)  # its number in the queue
TOKEN = unsigned(32)  # an id of the vocabulary
TAG = unsigned(32)  # of a descriptor, given back in the record
PC = unsigned(16)  # an instruction's number
CYCLES = unsigned(32)  # of the clock; deadlines
PASSES = unsigned(32)
RESULTS = unsigned(16)  # records written since the queue's start
RECORD_FIELD = unsigned(3)  # hw.queue.record.Field
RECORD_INDEX = unsigned(16)  # within a record: a word, class, layer or position
SATURATIONS = unsigned(16)  # values of a cycle that saturated
COUNTER = unsigned(64)  # of the register table
ERROR = unsigned(8)  # firmware.error_codes.Error, of the run or of a sentence
DETAIL = unsigned(16)  # what goes with an error
WIDE_COUNT = unsigned(32)  # sentences, instructions or bus words of a whole run

# Where words are.
WORD = unsigned(32)  # of data: a register, a word of the image or of a record
ADDRESS = unsigned(32)  # of a byte in the system's memory
SIZE = unsigned(32)  # bytes of a part of the system's memory
POINTER = unsigned(32)  # of a word in an on-chip buffer, as it is computed
PLACE = field("target_base")  # of a word in an on-chip buffer, as an instruction gives it
STRIDE = field("source_stride")  # words of a buffer from tile to tile
PARAMETER = unsigned(16)  # of a word in a table of parameters: gamma and beta, spans, eta
WORDS = unsigned(16)  # words of a request or of a burst
BYTE = unsigned(8)
BANKS = unsigned(2)  # a bit for each of two banks
SDRAM_DATA = unsigned(16)  # data pins of a board's memory

# AXI4's own fields (AMBA AXI and ACE protocol specification).
AXI_LEN = unsigned(8)  # beats of a burst, minus 1
AXI_SIZE = unsigned(3)  # log2 of the bytes of a beat
AXI_BURST = unsigned(2)
AXI_CACHE = unsigned(4)
AXI_PROT = unsigned(3)
AXI_RESP = unsigned(2)
AXI_LITE_STROBE = unsigned(WORD.width // BYTE.width)  # a bit for each byte of a register


# What depends on the machine.


def code(config):
    """A stored code of the config's number format."""
    return unsigned(config.format.bits)


def decoded(config):
    """The integer that a code stands for."""
    return signed(config.format.decoded_bits)


def accumulator(config):
    """The exact accumulator of the longest dot product."""
    return signed(config.accumulator_bits)


def denominator(config):
    """The sum of a row's decoded numerators; 24 bits hold it for all but the widest formats."""
    fmt = config.format
    one = 1 << (fmt.top + fmt.mantissa)  # decoded 1.0
    return unsigned(max(24, (one * config.positions).bit_length()))


def slot_mask(config):
    """A bit for each slot, such as the slots that an operation works on."""
    return unsigned(config.slots)


def tile_mask(config):
    """A bit for each of a tile's T rows, such as the rows that are live."""
    return unsigned(config.tokens)


def tile_values(config):
    """One feature of a tile's T rows."""
    return data.ArrayLayout(ACT, config.tokens)


def tile_codes(config):
    """One feature of a tile's T rows, encoded."""
    return data.ArrayLayout(code(config), config.tokens)
