# SPDX-License-Identifier: Apache-2.0
"""Every input of every function's internal format, against float64."""

import pytest
import torch

from golden_model.fixed import round_shift
from golden_model.functions import (
    exp,
    exp_tables,
    ln,
    ln_table,
    reciprocal,
    reciprocal_table,
    rsqrt,
    rsqrt_table,
    tanh,
    tanh_table,
)
from golden_model.gelu import gelu, gelu_float, gelu_table


def signed(bits=16):
    return torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))


def wide(bits, shift):
    """Every `bits`-bit mantissa, `shift` zeros below, or the corners of what rounding drops."""
    u = torch.arange(2 ** (bits - 1), 2**bits)
    if shift < 2:
        return u << shift
    half = 1 << (shift - 1)
    return torch.cat([(u << shift) + low for low in (half, half + 1)])


def check(name, error, bound):
    worst = float(error.abs().max())
    print(f"{name}: {worst / bound:.3f} of the bound {bound:.3e}")
    assert worst <= bound


def test_exp():
    y = exp(torch.arange(2**16))
    check("exp", y / 2**16 - torch.exp(-torch.arange(2**16).double() / 2**11), 2.0**-15)
    assert int(y[0]) == 2**16
    assert bool((y[1:] <= y[:-1]).all()), "monotonic"


@pytest.mark.parametrize("shift", range(0, 24))
def test_reciprocal(shift):
    z = wide(16, shift)
    w, p = reciprocal(z)
    check(f"reciprocal << {shift}", torch.ldexp(w.double(), -16 - p) * z - 1, 2.0**-14)


def test_reciprocal_of_small():
    z = torch.arange(1, 2**16)
    w, p = reciprocal(z)
    check("reciprocal", torch.ldexp(w.double(), -16 - p) * z - 1, 2.0**-14)
    assert [int(t) for t in reciprocal(torch.tensor(0))] == [0, 0]
    assert [int(t) for t in reciprocal(torch.tensor(2048))] == [2**16, 11], "powers of two: exact"


@pytest.mark.parametrize("shift", range(0, 40))
def test_rsqrt(shift):
    z = wide(16, shift)
    w, q = rsqrt(z)
    relative = torch.ldexp(w.double(), -16 - q) * z.double().sqrt() - 1
    check(f"rsqrt << {shift}", relative, 2.0**-13)


def test_rsqrt_of_small():
    z = torch.arange(1, 2**16)
    w, q = rsqrt(z)
    check("rsqrt small", torch.ldexp(w.double(), -16 - q) * z.double().sqrt() - 1, 2.0**-13)
    assert [int(t) for t in rsqrt(torch.tensor(0))] == [0, 0]
    assert [int(t) for t in rsqrt(torch.tensor(64))] == [2**16, 3]


@pytest.mark.parametrize("shift", range(0, 16))
def test_ln(shift):
    z = wide(16, shift)
    check(f"ln << {shift}", ln(z) / 2**16 - torch.log(z.double() / 2**16), 2.0**-11)


def test_ln_of_small():
    z = torch.arange(1, 2**16)
    check("ln small", ln(z) / 2**16 - torch.log(z.double() / 2**16), 2.0**-11)
    assert int(ln(torch.tensor(2**16))) == 0


@pytest.mark.parametrize("kind", ["gelu", "gelu_new"])
def test_gelu(kind):
    x = signed()
    y = gelu(x, kind)
    check(kind, y - gelu_float(x.double() / 2**10, kind) * 2**10, 2.0)
    assert bool((y[x >= 4096] == x[x >= 4096]).all()) and not y[x < -4096].any()
    assert int(y[2**15]) == 0


def test_tanh():
    x = signed()
    y = tanh(x)
    check("tanh", y / 2**14 - torch.tanh(x.double() / 2**12), 2.0**-11)
    assert int(y[2**15]) == 0
    assert int((y[1 : 2**15].flip(0) + y[2**15 + 1 :]).abs().max()) <= 1, "odd but for ties"


def test_tables_are_small():
    tables = [
        reciprocal_table(),
        rsqrt_table(),
        ln_table(),
        tanh_table(),
        gelu_table("gelu"),
        gelu_table("gelu_new"),
    ]
    assert all(len(table.base) <= 513 for table in tables)
    assert all(max(map(abs, table.base)) <= 2**16 for table in tables)
    assert all(max(map(abs, table.slope)) < 2**11 for table in tables)
    assert all(len(table) == 256 and max(table) == 2**17 for table in exp_tables())


def test_round_shift_is_in_every_result():
    """One evaluation by hand, so that the formula stays what the hardware implements."""
    table, u = reciprocal_table(), 0x9ABC
    i, fraction = (u - 2**15) >> 7, u & 127
    want = table.base[i] + round_shift(table.slope[i] * fraction, 7)
    assert int(reciprocal(torch.tensor(u))[0]) == want
