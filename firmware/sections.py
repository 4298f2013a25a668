# SPDX-License-Identifier: Apache-2.0
"""Lines of Markdown tables: instructions, parameters and sizes, headers of images, constants."""

import inspect
import re

from firmware import isa
from firmware.constants import Memory
from firmware.embedding_image import EMBEDDING_HEADER
from firmware.image import HEADER, HEADER_BYTES
from firmware.show import SHOWN
from golden_model.config import NumberFormat
from golden_model.hardware import HARDWARE, SIZES, UNITS, HardwareConfig

__all__ = [
    "constant_table",
    "embedding_header_table",
    "field_table",
    "image_header_table",
    "number_table",
    "opcode_table",
    "parameter_table",
    "size_table",
]

# A parameter of a docstring: its name, and its text up to the next one.
PARAMETER = re.compile(r"^(\w+) : (.*(?:\n    .*)*)", re.MULTILINE)
# What the formulas of the buffers name besides parameters.
DERIVED = ("tiles", "cls_tiles", "physical_rows", "widest", "row_words", "code_features")


def _table(titles, rows):
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def opcode_table():
    """Each opcode, its engine, and what it does."""
    engines = {engine.opcode: engine for engine in isa.ENGINES}
    rows = []
    for opcode in isa.Opcode:
        engine = engines.get(opcode)
        rows.append((int(opcode), opcode.name, engine.name if engine else "", opcode.doc))
    return _table(("number", "opcode", "engine", "does"), rows)


def field_table():
    """Each field, its bits, the opcodes that have it, and what it means."""
    rows = []
    for name, field in isa.FIELDS.items():
        users = [opcode.name for opcode in isa.Opcode if name in SHOWN[opcode]]
        last = field.low + field.width - 1
        bits = f"{last}..{field.low}" if field.width > 1 else field.low
        signed = " Signed." if field.signed else ""
        rows.append((name, field.word, bits, ", ".join(users) or "all", field.doc + signed))
    return _table(("field", "word", "bits", "opcodes", "meaning"), rows)


def number_table(kind):
    """The numbers of a `Coded`."""
    return _table(("number", "name", "meaning"), ((int(one), one.name, one.doc) for one in kind))


def parameter_table():
    """Those of `HardwareConfig`, as its docstring has them, with the shipped values."""
    rows = []
    for name, text in PARAMETER.findall(inspect.getdoc(HardwareConfig) or ""):
        meaning, _, rest = " ".join(text.split()).partition("; ")
        span = "{}..{}".format(*SIZES[name]) if name in SIZES else ""
        allowed = ", ".join(filter(None, (span, rest)))
        values = (_value(getattr(config, name)) for config in HARDWARE.values())
        rows.append((f"`{name}`", meaning, allowed, *values))
    yield from _table(("parameter", "meaning", "allowed", *HARDWARE), rows)
    yield ""
    yield f"Optional units: {', '.join(f'`{unit}`' for unit in UNITS)}."


def _value(value):
    """A parameter's value as text."""
    if isinstance(value, NumberFormat):
        return f"<{value.bits},{value.exponent}>"
    if isinstance(value, frozenset):
        return "all" if value == set(UNITS) else ", ".join(sorted(value))
    return value


def size_table():
    """What follows from the parameters and stands in the formulas of the buffers."""
    rows = []
    for name in DERIVED:
        meaning = " ".join((inspect.getdoc(getattr(HardwareConfig, name)) or "").split())
        values = (getattr(config, name) for config in HARDWARE.values())
        rows.append((f"`{name}`", meaning, *values))
    return _table(("size", "meaning", *HARDWARE), rows)


def image_header_table():
    """The words of an image's header."""
    rows = ((word, name, doc) for word, (name, doc) in enumerate(HEADER.items()))
    return _table(("word", "name", "meaning"), rows)


def embedding_header_table():
    """The words of an embedding image's header; what no name has is zero, the last is a CRC."""
    rows = [(word, name, doc) for word, (name, doc) in enumerate(EMBEDDING_HEADER.items())]
    last = HEADER_BYTES // 4 - 1
    rows += [(f"{len(rows)} .. {last - 1}", "", "0."), (last, "crc", "CRC-32 of the words before.")]
    return _table(("word", "name", "meaning"), rows)


def constant_table():
    """The memories of an image's constants."""
    rows = ((int(one), one.name, one.index, one.data) for one in Memory)
    return _table(("memory", "name", "index", "data"), rows)
