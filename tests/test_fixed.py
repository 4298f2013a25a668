# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from golden_model.fixed import Saturations, align, leading_one, round_shift, saturate


@given(st.integers(-(2**60), 2**60), st.integers(-2, 61))
def test_round_shift(x, s):
    want = round(Fraction(x) / 2**s) if s > 0 else x * 2**-s
    assert round_shift(x, s) == want
    if abs(want) < 2**62:
        assert int(round_shift(torch.tensor([x]), s)[0]) == want
        assert int(round_shift(torch.tensor([x]), torch.tensor([s]))[0]) == want


def test_round_shift_ties_to_even():
    assert [round_shift(x, 1) for x in (-3, -1, 1, 3, 5)] == [-2, 0, 0, 2, 2]


@given(st.integers(-(2**40), 2**40), st.integers(2, 30))
def test_saturate(x, bits):
    counted = Saturations()
    y = saturate(x, bits, counted)
    assert y == min(max(x, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
    assert counted.count == (y != x)
    assert int(saturate(torch.tensor([x]), bits, counted)[0]) == y


def test_align():
    counted = Saturations()
    assert align(torch.tensor([3, 5, 30000]), 1, 2, counted).tolist() == [6, 10, 32767]
    assert counted.count == 1
    assert align(3, 1, 0) == 2


@given(st.integers(0, 2**62))
def test_leading_one(x):
    assert int(leading_one(torch.tensor([x]))[0]) == leading_one(x) == x.bit_length() - 1
