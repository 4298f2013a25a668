# SPDX-License-Identifier: Apache-2.0
"""Bit-field pictures of what lies in memory: instruction, descriptor, record."""

from firmware import isa
from firmware.record import DESCRIPTOR, RECORD
from sim.pictures.svg import Drawing

__all__ = ["descriptor", "instruction_picture", "record"]

SOURCE = "drawn by `python -m sim.pictures` from the tables of firmware/"
BITS = 32
LEFT, BIT = 130, 25  # the words' numbers; width of a bit
TOP, ROW = 62, 30
NOTE = 18  # height of a line of names
LETTER = 7  # points, at size 12


def _words(title, rows):
    """A picture of rows (text at the left, [(low bit, width, name)]).

    Names that do not fit their bits are written below their row.
    """
    notes = [_narrow(fields) for _, fields in rows]
    height = TOP + ROW * len(rows) + NOTE * sum(bool(note) for note in notes) + 10
    drawing = Drawing(LEFT + BITS * BIT + 30, height, SOURCE)
    drawing.text(16, 24, title, bold=True, size=15)
    for bit in range(0, BITS, 4):
        for number in (bit, bit + 3):
            x = LEFT + (BITS - number - 0.5) * BIT
            drawing.text(x, TOP - 6, number, "soft", "middle", size=11)
    y = TOP
    for (name, fields), note in zip(rows, notes, strict=True):
        drawing.text(LEFT - 10, y + 19, name, anchor="end", size=12)
        drawing.rect(LEFT, y, BITS * BIT, ROW - 4, "box", edge=True)
        for low, width, text in fields:
            x = LEFT + (BITS - low - width) * BIT
            drawing.rect(x, y, width * BIT, ROW - 4, "room", edge=True)
            if _fits(width, text):
                drawing.text(x + width * BIT / 2, y + 17, text, anchor="middle", size=12)
        drawing.text(LEFT, y + ROW + 9, note, "soft", size=12)
        y += ROW + NOTE * bool(note)
    return str(drawing)


def _fits(width, text):
    return len(text) * LETTER < width * BIT


def _narrow(fields):
    """The fields whose names do not fit, the highest first, as text."""
    found = [(low, width, name) for low, width, name in fields if not _fits(width, name)]
    return ",  ".join(
        f"{low + width - 1}..{low} {name}" if width > 1 else f"{low} {name}"
        for low, width, name in sorted(found, reverse=True)
    )


def instruction_picture():
    """The eight words; fields that share bits, for different opcodes, are in rows of their own."""
    rows = []
    for word in range(isa.WORDS):
        lines = []
        for name, field in isa.FIELDS.items():
            if field.word != word:
                continue
            bits = set(range(field.low, field.low + field.width))
            line = next((line for line in lines if not line[0] & bits), None)
            if line is None:
                lines.append(line := (set(), []))
            line[0].update(bits)
            line[1].append((field.low, field.width, name))
        rows += [
            (f"word {word}" if i == 0 else "or", fields) for i, (_, fields) in enumerate(lines)
        ]
    return _words("Instruction", rows)


def descriptor():
    """The words of a queue's descriptor."""
    return _words("Descriptor of a sentence", _entries(DESCRIPTOR))


def record():
    """The words of a result record."""
    return _words("Result record", _entries(RECORD))


def _entries(table):
    """A row for each entry; of an array its first word stands for all."""
    return [(_numbers(table, entry), _parts(entry)) for entry in table.entries]


def _numbers(table, entry):
    """The entry's words as text; L stands for the parameter `layers`."""
    fixed, parameters = table.place(entry.name)
    first = " + ".join([str(fixed), *(f"{'2 ' * (n > 1)}L" for n in [len(parameters)] if n)])
    if entry.count == 1:
        return f"word {first}"
    if isinstance(entry.count, int):
        return f"{first} .. {fixed + entry.count - 1}"
    return f"{first} .."


def _parts(entry):
    if entry.fields:
        return [(bits.low, bits.width, bits.name) for bits in entry.fields]
    if entry.bits == BITS:
        return [(0, BITS, f"{entry.name}{_each(entry)}")]
    return [
        (low, entry.bits, f"{entry.name} [{low // entry.bits}]")
        for low in range(0, BITS, entry.bits)
    ]


def _each(entry):
    return "" if entry.count == 1 else f" [{entry.count}]"
