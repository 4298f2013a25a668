# SPDX-License-Identifier: Apache-2.0
"""Tap records as numpy arrays: packed bits of an Amaranth layout, cut into fields all at once."""

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

__all__ = ["decode_tap", "fields"]


def fields(layout):
    """(path, bit offset, width, signed, count, step) of every field.

    An array of numbers is one field with `count` lanes.
    """
    found = []
    for name, field in layout:
        shape, offset = field.shape, field.offset
        if isinstance(shape, data.ArrayLayout):
            element = Shape.cast(shape.elem_shape)
            step = Shape.cast(shape).width // shape.length
            found.append((name, offset, element.width, element.signed, shape.length, step))
        elif isinstance(shape, data.Layout):
            raise TypeError(f"Tap fields must be numbers or arrays of numbers, not {shape!r}")
        else:
            shape = Shape.cast(shape)
            found.append((name, offset, shape.width, shape.signed, None, 0))
    return found


def decode_tap(layout, words):
    """Fields of many records by name: int64 arrays of shape (records,) or (records, lanes).

    Unsigned ones of 64 bits come as their bits do. `words` holds one record a row, as little-endian
    32-bit words.
    """
    padded = np.concatenate([words, np.zeros((len(words), 2), np.uint32)], axis=1).astype(np.uint64)
    return {
        name: _cut(padded, offset, width, signed, count, step)
        for name, offset, width, signed, count, step in fields(layout)
    }


def _cut(words, offset, width, signed, count, step):
    starts = offset + step * np.arange(1 if count is None else count)
    first, low = starts // 32, (starts % 32).astype(np.uint64)
    pair = words[:, first] | words[:, first + 1] << np.uint64(32)
    above = (
        words[:, first + 2] << np.uint64(1) << (np.uint64(63) - low)
    )  # bit 64 of what begins at the pair is bit 64 - low of the value
    value = ((pair >> low | above) & np.uint64((1 << width) - 1)).astype(np.int64)
    if signed:
        value -= (value >> (width - 1)) << width
    return value[:, 0] if count is None else value
