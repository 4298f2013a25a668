# SPDX-License-Identifier: Apache-2.0
"""Softmax of attention rows, normalized once, after the product with V (docs/numerics.md).

    e = exp(score - row maximum), e <- round_shift(e * span, 8), code = AdaptivFloat(e)
    context = sum(decoded * v) / sum(decoded)

The reciprocal's mantissa multiplies an 18-bit factor, so that one small multiplier is enough.
"""

import torch

from golden_model.adaptivfloat import decode_integer, encode_fixed
from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import (
    EXP_FRAC,
    EXP_IN_BITS,
    EXP_IN_FRAC,
    FACTOR_BITS,
    MANTISSA_FRAC,
    SPAN_FRAC,
)
from golden_model.functions import exp, reciprocal

__all__ = [
    "context",
    "context_shift",
    "denominator",
    "distance",
    "encode_numerator",
    "factor_guard",
    "mask_numerator",
    "numerator",
    "numerator_bias",
    "softmax_float",
]


def distance(x, maximum, frac):
    """maximum - x (17 bits unsigned, `frac` fraction bits) as exp's argument: 16 bits, 11 fraction.

    Subtract first, then align; what is further than 32 away is clamped (not counted: exp is 0).
    """
    return round_shift(maximum - x, frac - EXP_IN_FRAC).clamp(max=2**EXP_IN_BITS - 1)


def numerator(x, frac):
    """exp(x - max) over the last dimension: ACT of `frac` fraction bits -> unsigned Q1.16."""
    return exp(distance(x, x.amax(-1, keepdim=True), frac))


def mask_numerator(e, span):
    """e * span: unsigned Q1.16 times unsigned Q0.8 with 256 = 1."""
    return round_shift(e * span, SPAN_FRAC)


def numerator_bias(fmt):
    """Bias of the numerators' codes: 1.0 is the top binade; for int8 1.0 is 128, clamped to 127."""
    return -fmt.top if fmt.is_adaptivfloat else -7


def encode_numerator(e, fmt):
    """Code of a Q1.16 numerator (17 bits unsigned)."""
    return encode_fixed(e, EXP_FRAC, numerator_bias(fmt), fmt, EXP_FRAC + 1)


def denominator(codes, fmt):
    """Sum of the decoded numerators of each row; decoded_bits - 1 + log2(longest) bits unsigned."""
    return decode_integer(codes, fmt).sum(-1)


def factor_guard(fmt):
    """Fraction bits g of the 18-bit factor in `context`: |accumulator / 2^p| < 2^decoded_bits."""
    return FACTOR_BITS - 1 - fmt.decoded_bits


def context_shift(fmt, value_bias, frac):
    """The constant right shift after the multiplication: context has `frac` fraction bits."""
    return MANTISSA_FRAC + factor_guard(fmt) + fmt.mantissa - value_bias - frac


def context(accumulator, total, shift, fmt, saturations=None):
    """ACT(accumulator / total), total > 0 the row's denominator (0 gives 0).

    (w, p) = reciprocal(total); factor = round_shift(accumulator, p - g), 18 bits signed;
    context = saturate(round_shift(factor * w, shift), 16). p - g is -15..31.
    """
    w, p = reciprocal(total)
    factor = round_shift(accumulator, p - factor_guard(fmt))
    return saturate(round_shift(factor * w, shift), ACT_BITS, saturations)


def softmax_float(score, span):
    """Weights: exp(score - max) * span, normalized over the last dimension."""
    e = torch.exp(score - score.amax(-1, keepdim=True)) * span
    return e / e.sum(-1, keepdim=True).clamp(min=1e-300)
