# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from golden_model.adaptivfloat import decode, decode_integer, encode
from golden_model.config import AF8, INT8, NumberFormat
from golden_model.fixed import Saturations
from golden_model.softmax import (
    context,
    context_shift,
    denominator,
    distance,
    encode_numerator,
    factor_guard,
    mask_numerator,
    numerator,
    numerator_bias,
    softmax_float,
)

FORMATS = [AF8, INT8, NumberFormat(8, 4), NumberFormat(4, 3), NumberFormat(6, 2)]


def attend(score, span, v, fmt, frac=9, value_bias=-6, context_frac=12):
    """Context of one head: score (m, m) ACT, v (m, d) codes."""
    codes = encode_numerator(mask_numerator(numerator(score, frac), span), fmt)
    accumulator = decode_integer(codes, fmt) @ decode_integer(v, fmt)
    total = denominator(codes, fmt)[:, None]
    shift = context_shift(fmt, value_bias, context_frac)
    return context(accumulator, total, shift, fmt), codes


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_numerator_codes(fmt):
    e = torch.arange(2**16 + 1)
    codes = encode_numerator(e, fmt)
    assert torch.equal(codes, encode(e / 2**16, numerator_bias(fmt), fmt))
    one = float(decode(codes[-1], numerator_bias(fmt), fmt))
    assert one == (127 / 128 if fmt == INT8 else 1.0)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_context_of_rounded_numerators(fmt):
    """Against float64 with the same codes: only the last steps may differ."""
    generator = torch.Generator().manual_seed(3)
    score = torch.randint(-3000, 3000, (40, 40), generator=generator)
    v = torch.randint(0, 2**fmt.bits, (40, 8), generator=generator)
    got, codes = attend(score, torch.tensor(256), v, fmt)
    weight = decode_integer(codes, fmt).double()
    value = decode(v, -6, fmt)
    want = (weight @ value) / weight.sum(-1, keepdim=True) * 2**12
    error = (got - want.clamp(-(2**15), 2**15 - 1)).abs().max()
    assert float(error) <= 2 + 2.0**-13 * float(want.abs().max())


def test_close_to_float():
    generator = torch.Generator().manual_seed(4)
    score = torch.randint(-2000, 2000, (30, 30), generator=generator)
    span = torch.randint(0, 257, (30, 30), generator=generator) | torch.eye(30).long()
    v = torch.randint(0, 256, (30, 8), generator=generator)
    got, _ = attend(score, span, v, AF8)
    want = softmax_float(score.double() / 2**9, span / 256) @ decode(v, -6, AF8)
    assert float((got / 2**12 - want).abs().max()) < 2.0**-4 * float(decode(v, -6, AF8).max())


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_weights_sum_to_one(fmt):
    """Equal values come out unchanged, whatever the weights."""
    score = torch.arange(-900, 900, 60)[None].repeat(30, 1)
    v = torch.full((30, 1), int(encode(torch.tensor(1.0), -fmt.top, fmt)))
    got, _ = attend(score, torch.tensor(256), v, fmt, value_bias=-fmt.top, context_frac=12)
    assert bool(((got - 2**12 * float(decode(v, -fmt.top, fmt)[0])).abs() <= 1).all())


def test_factor_fits():
    for fmt in FORMATS:
        assert 2 * fmt.largest * 2.0 ** factor_guard(fmt) < 2**17


def test_shift_invariance():
    score = torch.tensor([[-5, 100, 2000, 1999]])
    assert torch.equal(numerator(score, 7), numerator(score + 1234, 7))


def test_distance_is_clamped():
    assert distance(torch.tensor([-32768]), torch.tensor([32767]), 4).tolist() == [65535]


def test_nothing_in_the_span():
    zero = torch.zeros(1, 1, dtype=torch.int64)
    counted = Saturations()
    assert int(context(zero, zero, 20, AF8, counted)) == 0 and counted.count == 0
