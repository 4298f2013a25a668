# SPDX-License-Identifier: Apache-2.0
"""AdaptivFloat<8,3> on floats with a straight-through gradient.

The values equal golden_model.adaptivfloat (a test says so for all codes and ties); this one works
on the bits of float32, so that it costs little in a training step.
"""

import math

import torch

from golden_model.adaptivfloat import bias_for
from golden_model.config import AF8

__all__ = ["fake_quantise", "quantise"]


def quantise(x, bias, fmt=AF8):
    """Nearest representable float32: ties to even, clamped, snapped to the smallest value."""
    smallest = math.ldexp(1 + 2.0**-fmt.mantissa, bias)
    largest = math.ldexp(2 - 2.0**-fmt.mantissa, bias + fmt.top)
    drop = 23 - fmt.mantissa
    bits = x.contiguous().view(torch.int32)
    odd = (bits >> drop) & 1
    rounded = (bits + ((1 << (drop - 1)) - 1) + odd) & -(1 << drop)
    size = rounded.view(torch.float32).abs().clamp(smallest, largest)
    return torch.where(x.abs() <= smallest / 2, 0.0, torch.copysign(size, x))


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias):
        return quantise(x, bias)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def fake_quantise(x, bias=None):
    """`quantise` with the identity for gradient; without a bias, the tensor's maximum sets it."""
    if bias is None:
        bias = bias_for(x.detach().abs().max().item(), AF8)
    return _StraightThrough.apply(x, bias)
