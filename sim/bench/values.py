# SPDX-License-Identifier: Apache-2.0
"""Values as the bits of an Amaranth shape and back, and their comparison."""

from amaranth import Shape
from amaranth.lib import data

__all__ = ["assert_same", "pack", "unpack"]


def pack(shape, value):
    """The bits of a value in an Amaranth shape.

    value : int; a list for an array; a dict for a struct, fields that are not named are 0
    Raises ValueError when it does not fit.
    """
    if isinstance(shape, data.ArrayLayout):
        if len(value) != shape.length:
            raise ValueError(f"Array must have {shape.length} elements, not {len(value)}")
        width = Shape.cast(shape.elem_shape).width
        return sum(pack(shape.elem_shape, item) << (i * width) for i, item in enumerate(value))
    if isinstance(shape, data.StructLayout):
        if unknown := set(value) - set(shape.members):
            raise ValueError(f"Struct has no field {', '.join(sorted(unknown))}")
        return sum(pack(shape[key].shape, item) << shape[key].offset for key, item in value.items())
    shape, value = Shape.cast(shape), int(value)
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    if not low <= value < low + (1 << shape.width):
        raise ValueError(f"Value must fit {shape!r}, not {value}")
    return value & ((1 << shape.width) - 1)


def unpack(shape, bits):
    """The inverse of `pack`."""
    if isinstance(shape, data.ArrayLayout):
        width = Shape.cast(shape.elem_shape).width
        return [
            unpack(shape.elem_shape, (bits >> (i * width)) & ((1 << width) - 1))
            for i in range(shape.length)
        ]
    if isinstance(shape, data.StructLayout):
        return {
            key: unpack(field.shape, (bits >> field.offset) & ((1 << field.width) - 1))
            for key, field in shape
        }
    shape = Shape.cast(shape)
    return bits - (1 << shape.width) if shape.signed and bits >> (shape.width - 1) else bits


def assert_same(name, got, want):
    """Compare nested lists (or tensors) of integers.

    Raises AssertionError with name, index and both values of the first difference.
    """
    got, want = (x.tolist() if hasattr(x, "tolist") else x for x in (got, want))
    difference = _difference(got, want)
    if difference:
        index, left, right = difference
        raise AssertionError(
            f"{name}{''.join(f'[{i!r}]' for i in index)}: got {left}, want {right}"
        )


def _difference(got, want):
    """(index, left, right) of the first difference, or None."""
    if isinstance(got, dict) and isinstance(want, dict):
        keys = list(want)
        if set(got) != set(want):
            return [], sorted(got), sorted(want)
    elif isinstance(got, (list, tuple)) and isinstance(want, (list, tuple)):
        keys = range(len(want))
        if len(got) != len(want):
            return ["length"], len(got), len(want)
    else:
        return None if got == want else ([], got, want)
    for key in keys:
        if below := _difference(got[key], want[key]):
            return [key, *below[0]], *below[1:]
    return None
