# SPDX-License-Identifier: Apache-2.0
"""Mutants of embedding images, whose CRCs and rows' checks are made right again."""

import zlib

import numpy as np

from firmware.embedding_image import (
    EMBEDDING_HEADER,
    EMBEDDING_OFFSET,
    ROW_CHECK_BYTES,
    parse_embedding,
    row_check,
)
from firmware.image import HEADER_BYTES, ImageError
from firmware.image_rules import check_rows
from firmware.show import describe
from golden_model.bitmask import WORD_ROWS
from golden_model.hardware import ceil_div
from sim.fuzz.images import LARGE, bases
from sim.fuzz.mutate import (
    change_bytes,
    change_length,
    change_word,
    put_word,
    scatter_bytes,
    take_word,
)
from sim.fuzz.target import FuzzTarget

__all__ = ["EMBEDDING_TARGET"]

ROWS = 64  # of a mutant whose checks are made right; the rest has the checks that it had


def _images():
    return [base.embedding for base in bases()]


# Changes of a bytearray, in place; `base` is the image that it was.


def _header(rng, data, base):
    at = 4 * rng.randrange(len(EMBEDDING_HEADER))
    put_word(data, at, change_word(rng, take_word(data, at)))


def _sizes(rng, data, base):
    """As many rows as words, positions and segments are said to be."""
    name = rng.choice(("vocabulary", "positions"))
    at = EMBEDDING_OFFSET[name]
    put_word(data, at, rng.choice((1, 2, take_word(data, at) + rng.randint(-3, 3), 65536)))
    put_word(
        data,
        EMBEDDING_OFFSET["rows"],
        sum(take_word(data, EMBEDDING_OFFSET[name]) for name in ("vocabulary", "positions")) + 2,
    )


def _width(rng, data, base):
    old = take_word(base, EMBEDDING_OFFSET["width"])
    put_word(data, EMBEDDING_OFFSET["width"], rng.choice((old + 1, old - 1, old + 16, 1, 15, 4096)))


def _table(rng, data, base):
    """An offset of the row table, or two changed with each other."""
    start = take_word(base, EMBEDDING_OFFSET["table_offset"])
    rows = take_word(base, EMBEDDING_OFFSET["rows"])
    one, other = (start + 4 * rng.randrange(rows + 1) for _ in range(2))
    if max(one, other) + 4 <= len(data):
        old = take_word(data, one)
        put_word(data, one, take_word(data, other) if rng.random() < 0.3 else change_word(rng, old))
        if rng.random() < 0.3:
            put_word(data, other, old)


def _row(rng, data, base):
    """Bytes of the rows: masks, codes, checks."""
    start = take_word(base, take_word(base, EMBEDDING_OFFSET["table_offset"]))
    scatter_bytes(rng, data, start)


def _length(rng, data, base):
    change_length(rng, data, EMBEDDING_OFFSET["length"])


def _bytes(rng, data, base):
    change_bytes(rng, data, base)


CHANGES = (_header, _header, _sizes, _width, _table, _table, _row, _row, _length, _bytes)


# Check words.


def _recheck(data):
    """The checks of the first rows, of what the mutant says they are."""
    start = take_word(data, EMBEDDING_OFFSET["table_offset"])
    words = ceil_div(take_word(data, EMBEDDING_OFFSET["width"]), WORD_ROWS)
    rows = min(take_word(data, EMBEDDING_OFFSET["rows"]), ROWS)
    for number in range(rows if words <= 256 else 0):
        if start + 4 * number + 4 > len(data):
            return
        begin = at = take_word(data, start + 4 * number)
        for _ in range(words):
            if at + 2 > len(data):
                return
            at += 2 + int.from_bytes(data[at : at + 2], "little").bit_count()
        if at + ROW_CHECK_BYTES <= len(data) and begin < at:
            check = row_check(number, bytes(data[begin:at]))
            data[at : at + ROW_CHECK_BYTES] = check.to_bytes(ROW_CHECK_BYTES, "big")


def _mutate(rng, prepared):
    *small, large = prepared
    base = large if rng.random() < LARGE else rng.choice(small)
    data = bytearray(base)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        (rng.choice(CHANGES) if len(data) >= HEADER_BYTES else _bytes)(rng, data, base)
    way = rng.random()
    if len(data) >= HEADER_BYTES:
        if way < 0.85:
            _recheck(data)
        if way < 0.97:
            put_word(data, EMBEDDING_OFFSET["hash"], zlib.crc32(data[HEADER_BYTES:]))
            put_word(data, HEADER_BYTES - 4, zlib.crc32(data[: HEADER_BYTES - 4]))
    return bytes(data)


def _read(data):
    """Refused, or every row can be taken from it."""
    text = describe(data)
    image = parse_embedding(data)
    check_rows(image)
    assert parse_embedding(image.data) == image and describe(image.data) == text
    for number in {*range(min(image.rows, ROWS)), image.rows - 1}:
        codes = np.asarray(image.row(number))
        assert codes.shape == (image.width,) and codes.min() >= 0 and codes.max() <= 255


EMBEDDING_TARGET = FuzzTarget("embedding", _images, _mutate, _read, (ImageError,))
