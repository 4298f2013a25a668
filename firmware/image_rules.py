# SPDX-License-Identifier: Apache-2.0
"""What the content of an image and of an embedding image must be, whose CRC is right.

The hardware checks headers and check words (`firmware.image_match`) and trusts the rest.
`check_content` and `check_rows` do not: a number is read against the tables here, in their order,
before anybody uses it. Limits are those of the hardware where it is known, else those of any
hardware.
"""

from dataclasses import dataclass

import numpy as np

from firmware import isa
from firmware.buffers import buffer_words
from firmware.columns import COLUMN_HEADER_BYTES as COLUMN_HEADER
from firmware.columns import HEADERS
from firmware.constants import name_constants
from firmware.embedding_image import ROW_CHECK_BYTES, checks_of_rows
from firmware.error_codes import Error
from firmware.flow import check_flow
from firmware.image import ALIGNMENT, HEADER_BYTES, is_sealed, require, stream_stride
from firmware.image_match import check_limits, check_sections, named
from firmware.image_streams import check_lanes
from firmware.isa import Function, Opcode, Select, Source, Target
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import HardwareConfig, ceil_div

__all__ = ["check_content", "check_rows", "hardware_of"]

# The most that any configuration has, and the least of what a stream is cut by.
WIDEST = 4096
LONGEST = 16384
SMALLEST = HardwareConfig(tokens=2, columns=2)


@dataclass(frozen=True)
class Facts:
    """The numbers that bounds refer to by name; unknown hardware has the limits of any."""

    layers: int
    classes: int
    heads: int
    positions: int
    embedding: int
    last: int  # number of the last instruction
    longest: int  # reduction of the array
    widest: int  # features of a LayerNorm
    columns: int
    bus_bytes: int
    hardware: HardwareConfig | None  # where it is known


def hardware_of(image):
    """The named configuration, in any number format, that the image is for; or None."""
    return next(iter(named(image.config_hash).values()), None)


def _facts(image, hardware):
    known = hardware or SMALLEST
    return Facts(
        layers=image.layers,
        classes=image.classes,
        heads=image.heads,
        positions=hardware.positions if hardware else image.positions,
        embedding=image.embedding_width,
        last=image.instructions - 1,
        longest=hardware.reduction if hardware else LONGEST,
        widest=hardware.widest if hardware else WIDEST,
        columns=known.columns,
        bus_bytes=known.bus_bytes,
        hardware=hardware,
    )


# Instructions: for each opcode the fields, and what each may be: a set of members of its
# enumeration, or (least, most), numbers or names of `Facts`.
_EVERY = frozenset(Select)
_ROWS = frozenset({Source.STATE, Source.NORMED})
_LINEAR_TARGETS = frozenset({Target.SUM, Target.CODES, Target.KEYS, Target.VALUES, Target.SCORES})
TILE_BUFFERS = frozenset({Target.SUM, Target.NORMED, Target.CODES, Target.KEYS, Target.SCORES})
RULES = {
    Opcode.ADMIT: {
        "target_buffer": frozenset({Target.STATE}),
        "reduction": ("embedding", "embedding"),
    },
    Opcode.GROUP: {"target": (0, "last")},
    Opcode.LINEAR: {
        "select": _EVERY,
        "source": frozenset(Source),
        "target_buffer": _LINEAR_TARGETS,
        "function": frozenset(Function),
        "reduction": (1, "longest"),
        "groups": (1, LONGEST),
        "block": (1, HEADERS),
    },
    Opcode.NORM: {
        "select": _EVERY,
        "source": _ROWS,
        "target_buffer": frozenset({Target.NORMED, Target.STATE}),
        "reduction": (1, "widest"),
        "norm_set": (0, 2),
    },
    Opcode.DROP: {"select": _EVERY},
    Opcode.ATTEND: {
        "select": _EVERY,
        "groups": (1, "heads"),
        "reduction": (1, "longest"),
    },
    Opcode.EXIT: {
        "select": _EVERY,
        "groups": (0, 1),
        "reduction": ("classes", "classes"),
    },
    Opcode.LOOP: {"target": (0, "last")},
}


def check_content(image, hardware=None):
    """Raise `ImageError` at the first thing in a parsed image that no compiler writes.

    hardware : what it was compiled for; by default the named configuration of that hash
    """
    facts = _facts(image, hardware or hardware_of(image))
    check_limits(image)
    check_sections(image, facts.hardware)
    for pc, words in enumerate(image.program):
        _check_instruction(pc, words, facts)
        if isa.unpack(words, "opcode") == Opcode.LINEAR:
            _check_stream(pc, words, facts, image)
        if facts.hardware is not None:
            _check_area(pc, words, facts.hardware)
    check_flow(image.program)
    if facts.hardware is not None:
        name_constants(facts.hardware, image.constant_words)


def _between(thing, value, low, high, error):
    allowed = f"{low}" if low == high else f"in {low}..{high}"
    require(low <= value <= high, error, f"{thing} must be {allowed}, not {value}")


def _check_instruction(pc, words, facts):
    """The opcode and the fields that it uses."""
    number = isa.unpack(words, "opcode")
    _between(f"Instruction {pc}: opcode", number, 1, max(Opcode), Error.ILLEGAL_OPCODE)
    opcode = Opcode(number)
    for name, allowed in RULES[opcode].items():
        value, thing = isa.unpack(words, name), f"Instruction {pc}: {name} of {opcode.name}"
        if isinstance(allowed, frozenset):
            names = ", ".join(f"{member.name} ({int(member)})" for member in sorted(allowed))
            text = f"{thing} must be {names}, not {value}"
            require(value in allowed, Error.ILLEGAL_OPCODE, text)
        else:
            low, high = (getattr(facts, x) if isinstance(x, str) else x for x in allowed)
            _between(thing, value, low, high, Error.ILLEGAL_OPCODE)


def _check_area(pc, words, hardware):
    """What an operation writes ends within its tile buffer (firmware/buffers.py)."""
    opcode, target = Opcode(isa.unpack(words, "opcode")), isa.unpack(words, "target_buffer")
    if opcode == Opcode.ATTEND:
        target = Target.CODES
    elif opcode not in (Opcode.LINEAR, Opcode.NORM) or target not in TILE_BUFFERS:
        return
    cls = isa.unpack(words, "cls") or isa.unpack(words, "source") == Source.CLS
    tiles = hardware.cls_tiles if opcode == Opcode.LINEAR and cls else hardware.tiles
    end = isa.unpack(words, "target_base") + tiles * isa.unpack(words, "target_stride")
    name = Target(target).name
    depth = buffer_words(hardware)[name.lower()]
    _between(f"Instruction {pc}: end of its area of {name}", end, 0, depth, Error.ILLEGAL_OPCODE)


def _check_stream(pc, words, facts, image):
    """The weight stream of a LINEAR: inside the image, long enough for its masks, and sealed."""
    length = len(image.data)
    names = ("address", "beats", "stacked", "groups", "reduction")
    address, beats, stacked, groups, rows = (isa.unpack(words, name) for name in names)
    thing = f"Instruction {pc}: weight stream"
    require(
        address % ALIGNMENT == 0 and address >= HEADER_BYTES,
        Error.ILLEGAL_OPCODE,
        f"{thing} must start at a multiple of {ALIGNMENT} behind the header, not at {address}",
    )
    size = beats * facts.bus_bytes
    end = address + stacked * (facts.layers - 1) * stream_stride(size) + size
    require(
        end <= length - 4,
        Error.ILLEGAL_OPCODE,
        f"{thing} must end at {length - 4} or before, not at {end}",
    )
    require(
        beats % facts.columns == 0,
        Error.ILLEGAL_OPCODE,
        f"{thing} must have a multiple of {facts.columns} bus words, not {beats}",
    )
    least = facts.columns * groups * (COLUMN_HEADER + 2 * ceil_div(rows, WORD_ROWS))
    require(
        size >= least,
        Error.ILLEGAL_OPCODE,
        f"{thing} must have at least {least} bytes for {groups} groups of {rows} rows, not {size}",
    )
    for layer in range(facts.layers if stacked else 1):
        if facts.hardware is not None:
            name = f"{thing} {layer}" if stacked else thing
            stream = image.stream(pc, facts.bus_bytes, layer)
            text = f"{name} must end with its CRC-32"
            require(is_sealed(stream), Error.IMAGE_SECTION, text)
            check_lanes(name, stream, words, facts.hardware)


def check_rows(embedding):
    """Raise `ImageError` at the first row of a parsed embedding image that no compiler writes.

    All rows are walked at once: mask after mask, then the check bytes.
    """
    data = np.frombuffer(embedding.data, np.uint8)
    offsets = np.asarray(embedding.offsets, np.int64)
    at, ends = offsets[:-1].copy(), offsets[1:]
    for word in range(ceil_div(embedding.width, WORD_ROWS)):
        _fits(at + 2, ends)
        masks = data[at].astype(np.uint16) | data[at + 1].astype(np.uint16) << 8
        rest = embedding.width - word * WORD_ROWS
        if rest < WORD_ROWS:
            _every(masks >> rest == 0, f"have no code beyond its {embedding.width} features")
        at += 2 + np.bitwise_count(masks).astype(np.int64)
    _fits(at + ROW_CHECK_BYTES, ends)
    found = checks_of_rows(data, offsets[:-1], at - offsets[:-1])
    _every(found == (data[at].astype(int) << 8 | data[at + 1]), "have the check of its codes")


def _fits(at, ends):
    _every(at <= ends, "end where the row table says")


def _every(good, rule):
    """Require `good` of every row; the first one that is not is named."""
    if not good.all():
        require(False, Error.SENTENCE_CHECK, f"Embedding row {int(np.argmin(good))} must {rule}")
