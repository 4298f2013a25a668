# SPDX-License-Identifier: Apache-2.0
"""Codes on floats, of <8,3> unless told otherwise, with a straight-through gradient.

The values equal golden_model.adaptivfloat (a test says so for all codes and ties); this one works
on the bits of float32, so that it costs little in a training step.
"""

import math

import torch

from golden_model.adaptivfloat import bias_for
from golden_model.config import AF8

__all__ = ["fake_quantise", "quantise"]

FLOAT_MANTISSA = 23  # bits of a float32
FLOAT_BIAS = 127


def quantise(x, bias, fmt=AF8):
    """Nearest float32 that a code stands for: ties to the even code, clamped at both ends."""
    if not fmt.is_adaptivfloat:
        steps = (x.double() * 2.0**-bias).round().clamp(-127, 127)
        return (steps * 2.0**bias).float()
    smallest = math.ldexp(1 + 2.0**-fmt.mantissa, bias)
    largest = math.ldexp(2 - 2.0**-fmt.mantissa, bias + fmt.top)
    drop = FLOAT_MANTISSA - fmt.mantissa
    bits = x.contiguous().view(torch.int32)
    # Without a mantissa the code's last bit is that of its exponent, which counts from the bias.
    odd = ((bits >> drop) - ((FLOAT_BIAS + bias) << fmt.mantissa)) & 1
    rounded = (bits + ((1 << (drop - 1)) - 1) + odd) & -(1 << drop)
    size = rounded.view(torch.float32).abs().clamp(smallest, largest)
    return torch.where(x.abs() <= smallest / 2, 0.0, torch.copysign(size, x))


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias, fmt):
        return quantise(x, bias, fmt)

    @staticmethod
    def backward(ctx, grad):
        return grad, None, None


def fake_quantise(x, bias=None, fmt=AF8):
    """`quantise` with the identity for gradient; without a bias, the tensor's maximum sets it."""
    if bias is None:
        bias = bias_for(x.detach().abs().max().item(), fmt)
    return _StraightThrough.apply(x, bias, fmt)
