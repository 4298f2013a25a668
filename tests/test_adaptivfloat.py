# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from gfloat import Domain, FormatInfo, RoundMode, decode_ndarray, round_ndarray

from golden_model.adaptivfloat import (
    bias_for,
    decode,
    decode_integer,
    decode_table,
    encode,
    encode_act,
    encode_fixed,
)
from golden_model.config import AF8, INT8, NumberFormat

FORMATS = [NumberFormat(n, e) for n in range(4, 9) for e in (2, 3, 4) if n - 1 - e >= 0]
ALL = [*FORMATS, INT8]


def oracle(fmt, bias):
    """The format as gfloat describes it: no subnormals, no infinities, no NaN, saturating."""
    return FormatInfo(
        name=str(fmt),
        k=fmt.bits,
        precision=fmt.mantissa + 1,
        bias=-bias,
        has_nz=True,
        domain=Domain.Finite,
        num_high_nans=0,
        has_subnormals=False,
        is_signed=True,
        is_twos_complement=False,
    )


def codes(fmt):
    return torch.arange(2**fmt.bits)


def smallest(fmt, bias):
    return 2.0**bias * (1 + 2.0**-fmt.mantissa)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
@pytest.mark.parametrize("bias", [-20, -3, 0, 5])
def test_decode_is_gfloats(fmt, bias):
    got = decode(codes(fmt), bias, fmt)
    want = decode_ndarray(oracle(fmt, bias), codes(fmt).numpy().astype(np.uint8))
    want[:: 2 ** (fmt.bits - 1)] = 0  # gfloat has no zero when there is no mantissa
    assert np.array_equal(got.numpy(), want)


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_encode_inverts_decode(fmt):
    value = decode(codes(fmt), -4, fmt)
    again = encode(value, -4, fmt)
    assert torch.equal(decode(again, -4, fmt), value)
    sign = 1 << (fmt.bits - 1)
    assert not bool((again == sign).any()), "negative zero is never produced"


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_encode_rounds_as_gfloat(fmt):
    bias = -2
    grid = torch.linspace(-1.3, 1.3, 40001).double() * decode(codes(fmt), bias, fmt).max()
    values = decode(codes(fmt), bias, fmt).sort().values
    x = torch.cat([grid, values, (values[1:] + values[:-1]) / 2])  # with every tie
    x = x[x.abs() >= smallest(fmt, bias)]
    want = round_ndarray(oracle(fmt, bias), x.numpy(), RoundMode.TiesToEven, sat=True)
    assert np.array_equal(decode(encode(x, bias, fmt), bias, fmt).numpy(), want)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_below_the_smallest(fmt):
    vmin = smallest(fmt, 0)
    just = 1 + 2.0**-40
    x = torch.tensor(
        [0, vmin / 2, -vmin / 2, vmin / 2 * just, -vmin / 2 * just, vmin / just],
        dtype=torch.float64,
    )
    assert decode(encode(x, 0, fmt), 0, fmt).tolist() == [0, 0, 0, vmin, -vmin, vmin]


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_encode_fixed_is_encode(fmt):
    v = torch.arange(-(2**15), 2**15)
    for frac, bias in [(15, -7), (12, -4), (-3, 6)]:
        assert torch.equal(encode_fixed(v, frac, bias, fmt), encode(v * 2.0**-frac, bias, fmt))


@pytest.mark.parametrize("fmt", [AF8, INT8], ids=str)
@pytest.mark.parametrize("frac, bias", [(15, -18), (0, 0), (20, -9), (30, 30), (-10, -30)])
def test_encode_fixed_far_away(fmt, frac, bias):
    v = torch.arange(-(2**15), 2**15)
    assert torch.equal(encode_fixed(v, frac, bias, fmt), encode(v * 2.0**-frac, bias, fmt))


@pytest.mark.parametrize("fmt", [AF8, INT8], ids=str)
def test_tables(fmt):
    v = torch.tensor([-32768, -3, 0, 1, 32767])
    assert torch.equal(encode_act(v, 9, -4, fmt), encode_fixed(v, 9, -4, fmt))
    assert torch.equal(decode_table(fmt).long(), decode_integer(codes(fmt), fmt))


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_decoded_integers_fit(fmt):
    d = decode_integer(codes(fmt), fmt)
    assert int(d.max()) == fmt.largest and int(d.min()) == -fmt.largest
    assert fmt.largest < 2 ** (fmt.decoded_bits - 1)


def test_bias():
    assert [bias_for(x, AF8) for x in (0, 1.0, 1.99, 2.0, 0.5)] == [0, -7, -7, -6, -8]
    assert [bias_for(x, INT8) for x in (0, 1.0, 1.99, 2.0)] == [0, -6, -6, -5]
    assert bias_for(2.0**-140, AF8) == -128
    with pytest.raises(ValueError, match="Bias must be a signed byte, not 193"):
        bias_for(2.0**200, AF8)


def test_int8():
    x = torch.tensor([0.5, 1.5, 126.6, 200.0, -200.0])
    assert encode(x, 0, INT8).tolist() == [0, 2, 127, 127, 0x81]
    assert decode_integer(torch.tensor([0x80, 0x81]), INT8).tolist() == [0, -127]
