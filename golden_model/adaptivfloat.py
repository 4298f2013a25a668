# SPDX-License-Identifier: Apache-2.0
"""AdaptivFloat<n,e> (arXiv 1909.13271, algorithm 1) and int8: encoders and decoders of codes.

A code s|E|M is the integer d = (-1)^s (2^m + M) 2^E, times 2^(b - m); E = M = 0 is zero. int8 sits
behind the same functions: d is the byte, times 2^b. The code with the sign alone (0x80) reads as
zero in both.

The bias is a signed byte. That of a tensor whose largest |x| is below 2^(top - 128) (2^-121 in
<8,3>) is clamped at -128, so that its codes are small or zero; one above 127 is refused.
"""

import functools
import math

import torch

from golden_model.config import NumberFormat
from golden_model.fixed import ACT_BITS, leading_one, round_shift

__all__ = [
    "bias_for",
    "decode",
    "decode_integer",
    "decode_table",
    "encode",
    "encode_act",
    "encode_fixed",
    "encode_table",
]


def bias_for(maximum: float | torch.Tensor, fmt: NumberFormat) -> int:
    """Bias b of a tensor whose largest |x| is `maximum`: floor(log2 maximum) - top, 0 for zeros.

    Clamped at -128. Raises ValueError where it is above 127, and for a `maximum` that is negative,
    NaN or infinite.
    """
    if not 0 <= maximum < math.inf:
        raise ValueError(f"Largest |x| must be finite and at least 0, not {float(maximum)}")
    if maximum == 0:
        return 0
    bias = math.frexp(float(maximum))[1] - 1 - fmt.top
    if bias > 127:
        raise ValueError(f"Bias must be a signed byte, not {bias} (max |x| = {maximum})")
    return max(bias, -128)


def decode_integer(code: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Integer d of each code: what the array multiplies."""
    sign = code >> (fmt.bits - 1)
    if not fmt.is_adaptivfloat:
        return torch.where(code == 0x80, 0, code - (sign << 8))
    magnitude = code & ((1 << (fmt.bits - 1)) - 1)
    mantissa = (1 << fmt.mantissa) + (magnitude & ((1 << fmt.mantissa) - 1))
    d = mantissa << (magnitude >> fmt.mantissa)
    return torch.where(magnitude == 0, 0, torch.where(sign == 1, -d, d))


def decode(code: torch.Tensor, bias: int, fmt: NumberFormat) -> torch.Tensor:
    """Value of each code, float64, exact."""
    return decode_integer(code, fmt).double() * 2.0 ** (bias - fmt.mantissa)


def encode(x: torch.Tensor, bias: int, fmt: NumberFormat) -> torch.Tensor:
    """Nearest code of each float, ties to the even code; clamps at both ends.

    Raises ValueError for NaN and infinity, which no code stands for.
    """
    x = x.double()
    if not torch.isfinite(x).all():
        raise ValueError(f"Values to encode must be finite, not {float(x[~torch.isfinite(x)][0])}")
    if not fmt.is_adaptivfloat:
        return torch.round(x * 2.0**-bias).clamp(-127, 127).long() & 0xFF
    m = fmt.mantissa
    fraction, exponent = torch.frexp(x.abs())
    exponent = exponent.long() - 1 - bias  # E; |x| = 2^(E+b) * (1 + fraction)
    fraction = 2 * fraction - 1
    steps = fraction * 2**m
    lower = (exponent << m) + steps.floor().long()
    rest = steps - steps.floor()
    code = lower + ((rest > 0.5) | ((rest == 0.5) & (lower % 2 == 1)))
    smallest = 2.0**bias * (1 + 2.0**-m)  # vmin, also right for m = 0
    code = torch.where(x.abs() <= smallest / 2, 0, code.clamp(1, (1 << (fmt.bits - 1)) - 1))
    return code + (((x < 0) & (code != 0)).long() << (fmt.bits - 1))


def encode_fixed(
    v: torch.Tensor, frac: int, bias: int, fmt: NumberFormat, bits: int = ACT_BITS
) -> torch.Tensor:
    """Code of the integer v (|v| < 2^bits) with `frac` fraction bits: equals encode(v * 2^-frac).

    What the hardware does: position p of the leading one of |v|; L = E and the bits after the
    leading one side by side, bits - 1 of them after the point; code = L rounded to m of those, ties
    to even, clamped. Clamping is not counted: a calibrated tensor loses at most its last step.
    """
    if not fmt.is_adaptivfloat:
        shift = frac + bias
        if shift < -bits:  # any non-zero is far above the largest byte
            return torch.where(v == 0, 0, torch.where(v > 0, 127, 0x81))
        return round_shift(v, min(shift, 40)).clamp(-127, 127) & 0xFF
    m, point = fmt.mantissa, bits - 1
    magnitude = v.abs()
    p = leading_one(magnitude).clamp(min=0)
    exponent = p - frac - bias  # E
    linear = (exponent << point) + (magnitude << (point - p)) - (1 << point)
    code = round_shift(linear, point - m).clamp(1, (1 << (fmt.bits - 1)) - 1)
    tiny = (1 << (point - m)) - (1 << point)  # L of vmin/2
    code = torch.where((magnitude == 0) | (linear <= tiny), 0, code)
    return code + (((v < 0) & (code != 0)).long() << (fmt.bits - 1))


# The same as tables, for speed.


@functools.cache
def decode_table(fmt: NumberFormat) -> torch.Tensor:
    """decode_integer of every code, as float64."""
    return decode_integer(torch.arange(2**fmt.bits), fmt).double()


@functools.cache
def encode_table(offset: int, fmt: NumberFormat) -> torch.Tensor:
    """encode_fixed of every ACT, by v + 2^15; only offset = frac + bias matters."""
    v = torch.arange(-(2 ** (ACT_BITS - 1)), 2 ** (ACT_BITS - 1))
    return encode_fixed(v, offset, 0, fmt)


def encode_act(v: torch.Tensor, frac: int, bias: int, fmt: NumberFormat) -> torch.Tensor:
    """encode_fixed of an ACT tensor."""
    return encode_table(frac + bias, fmt)[v + 2 ** (ACT_BITS - 1)]
