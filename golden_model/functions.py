# SPDX-License-Identifier: Apache-2.0
"""Function tables and their evaluation on integers: exp, reciprocal, rsqrt, ln, tanh.

`interpolate` is the one linear interpolator: table entry i plus its slope times the low bits of the
argument. The slope is the difference to the next entry, so the result is continuous. `*_table()`
are the ROMs of the RTL too. What is normalized first (reciprocal, rsqrt, ln) says how, exactly.
"""

import functools
import math

import torch

from golden_model.fixed import leading_one, round_shift
from golden_model.formats import (
    EXP_FRAC,
    EXP_IN_BITS,
    EXP_IN_FRAC,
    LN_FRAC,
    MANTISSA_FRAC,
    TANH_FRAC,
    TANH_IN_FRAC,
)

__all__ = [
    "EXP_LOW_BITS",
    "EXP_TABLE_FRAC",
    "LN2",
    "Table",
    "exp",
    "exp_float",
    "exp_tables",
    "interpolate",
    "ln",
    "ln_table",
    "normalize",
    "reciprocal",
    "reciprocal_table",
    "rsqrt",
    "rsqrt_table",
    "tanh",
    "tanh_float",
    "tanh_table",
]

EXP_LOW_BITS = 8  # the argument's low bits index the second table
EXP_TABLE_FRAC = 17  # both tables: unsigned 18 bits, 1.0 = 2^17
LN2 = round(math.log(2) * 2**LN_FRAC)


class Table:
    """Integers base[i], slope[i] = base[i+1] - base[i]; `fraction_bits` low bits between entries.

    The last entry has slope 0: it is reached only by the exact end of the domain.
    """

    def __init__(self, base, fraction_bits):
        self.base = list(base)
        self.slope = [after - here for here, after in zip(base, base[1:], strict=False)] + [0]
        self.fraction_bits = fraction_bits
        self.base_tensor = torch.tensor(self.base)
        self.slope_tensor = torch.tensor(self.slope)


def interpolate(table, x):
    """base[i] + round_shift(slope[i] * fraction, fraction_bits), i = high bits of x >= 0."""
    index = x >> table.fraction_bits
    fraction = x - (index << table.fraction_bits)
    return table.base_tensor[index] + round_shift(
        table.slope_tensor[index] * fraction, table.fraction_bits
    )


# exp(-x): product of two tables, e^-(high + low) = e^-high * e^-low.


@functools.cache
def exp_tables():
    """(high, low): e^-(i/8) and e^-(j/2048) for i, j in 0..255, unsigned 18 bits, 1.0 = 2^17.

    Entries of `high` are lowered where the rounded result would rise: exp is monotonic.
    """
    one, step = 2**EXP_TABLE_FRAC, 2.0**-EXP_IN_FRAC
    low = [round(math.exp(-j * step) * one) for j in range(2**EXP_LOW_BITS)]
    high = [one]
    for i in range(1, 2 ** (EXP_IN_BITS - EXP_LOW_BITS)):
        entry = round(math.exp(-i * step * 2**EXP_LOW_BITS) * one)
        while _exp_product(entry, low[0]) > _exp_product(high[-1], low[-1]):
            entry -= 1
        high.append(entry)
    return high, low


def _exp_product(high, low):
    return round_shift(high * low, 2 * EXP_TABLE_FRAC - EXP_FRAC)


@functools.cache
def _exp_tensors():
    return tuple(torch.tensor(table) for table in exp_tables())


def exp(x):
    """e^-x: x unsigned 16 bits with 11 fraction bits -> unsigned Q1.16. One 18 x 18 multiply."""
    high, low = _exp_tensors()
    return _exp_product(high[x >> EXP_LOW_BITS], low[x & (2**EXP_LOW_BITS - 1)])


def exp_float(x):
    return torch.exp(-x)


# Normalized functions. p is the position of the leading one.


def normalize(z, point, even=False):
    """(u, p): u = z * 2^(point - p) rounded, 2^point <= u <= 2^(point+1); with `even` p is made
    even (downwards) and u <= 2^(point+2). z = 0 gives (2^point, 0).
    """
    p = leading_one(z).clamp(min=0)
    if even:
        p = p - (p & 1)
    u = round_shift(z, p - point)
    return torch.where(z == 0, 1 << point, u), p


@functools.cache
def reciprocal_table():
    """2^16 / v at v = 1 + i/256, i = 0..256."""
    return Table([round(2**MANTISSA_FRAC * 256 / (256 + i)) for i in range(257)], 7)


def reciprocal(z):
    """(w, p): 1/z = w * 2^-(16 + p), 2^15 <= w <= 2^16; (0, 0) for z = 0.

    z is normalized to 16 bits: u = round_shift(z, p - 15), p its leading one; table on u - 2^15.
    """
    u, p = normalize(z, 15)
    return torch.where(z == 0, 0, interpolate(reciprocal_table(), u - 2**15)), p


@functools.cache
def rsqrt_table():
    """2^16 / sqrt(v) at v = i/64, i = 64..256; entries 0..63 are never read (held at 2^16)."""
    return Table([round(2**MANTISSA_FRAC * math.sqrt(64 / max(i, 64))) for i in range(257)], 8)


def rsqrt(z):
    """(w, q): 1/sqrt(z) = w * 2^-(16 + q), 2^15 <= w <= 2^16; (0, 0) for z = 0.

    z is normalized by an even shift: u = round_shift(z, 2q - 14), 2q <= leading one <= 2q + 1, so
    that u = 2^14 .. 2^16 stands for 1 .. 4; u indexes the table as it is.
    """
    u, p = normalize(z, 14, even=True)
    return torch.where(z == 0, 0, interpolate(rsqrt_table(), u)), p >> 1


@functools.cache
def ln_table():
    """ln(v) at v = 1 + i/256, i = 0..256, 16 fraction bits."""
    return Table([round(math.log(1 + i / 256) * 2**LN_FRAC) for i in range(257)], 7)


def ln(z):
    """ln(z * 2^-16), 16 fraction bits, z > 0: normalized like `reciprocal`, plus (p - 16) LN2."""
    u, p = normalize(z, 15)
    return interpolate(ln_table(), u - 2**15) + (p - EXP_FRAC) * LN2


@functools.cache
def tanh_table():
    """tanh at -8 + i/32, i = 0..512, 14 fraction bits."""
    return Table([round(math.tanh(i / 32 - 8) * 2**TANH_FRAC) for i in range(513)], 7)


def tanh(x):
    """Signed 16 bits with 12 fraction bits -> signed 16 bits with 14; the table takes x + 2^15."""
    return interpolate(tanh_table(), x + (8 << TANH_IN_FRAC))


def tanh_float(x):
    return torch.tanh(x)
