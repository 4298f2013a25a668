# SPDX-License-Identifier: Apache-2.0
"""GELU, gelu_new (tanh) and gelu (erf): a table inside -4 .. 4, identity above, zero below."""

import functools
import math

import torch

from golden_model.formats import GELU_FRAC
from golden_model.functions import Table, interpolate

__all__ = ["GELU_EDGE", "gelu", "gelu_float", "gelu_table"]

GELU_EDGE = 4 << GELU_FRAC  # the table covers -GELU_EDGE <= x < GELU_EDGE


def gelu_float(x, kind):
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), or 0.5 x (1 + erf(x / sqrt 2))."""
    if kind == "gelu_new":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


@functools.cache
def gelu_table(kind):
    """gelu at -4 + i/32, i = 0..256, 10 fraction bits; kind "gelu" or "gelu_new"."""
    x = torch.arange(257, dtype=torch.float64) / 32 - 4
    base = (gelu_float(x, kind) * 2**GELU_FRAC).round().long()
    return Table(base.tolist(), 5)


def gelu(x, kind):
    """Signed 16 bits with 10 fraction bits, in and out."""
    inside = (x + GELU_EDGE).clamp(0, 2 * GELU_EDGE - 1)
    y = interpolate(gelu_table(kind), inside)
    return torch.where(x >= GELU_EDGE, x, torch.where(x < -GELU_EDGE, 0, y))
