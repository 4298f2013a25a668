# SPDX-License-Identifier: Apache-2.0
"""The two functions that drop bits, everywhere: `round_shift` and `saturate`.

Both take Python integers or int64 tensors. `Saturations` is the counter that the host can read.
"""

from typing import overload

import torch

__all__ = ["ACT_BITS", "Saturations", "align", "leading_one", "round_shift", "saturate"]

ACT_BITS = 16


class Saturations:
    """Counts the elements that `saturate` changed."""

    def __init__(self):
        self.count = 0

    def add(self, changed):
        self.count += int(changed.sum()) if isinstance(changed, torch.Tensor) else int(changed)


def round_shift(x, s):
    """Arithmetic right shift by s, round half to even; s < 0 shifts left.

    s may be a tensor. For tensors |x| < 2^62 and s <= 61.
    """
    if isinstance(s, torch.Tensor):
        left, s = (-s).clamp(min=0), s.clamp(min=0)
        half = (torch.ones_like(s) << s) >> 1
        x = x << left
        return torch.where(s == 0, x, (x + half - 1 + ((x >> s) & 1)) >> s)
    if s <= 0:
        return x << -s
    return (x + ((1 << (s - 1)) - 1) + ((x >> s) & 1)) >> s


@overload
def saturate(
    x: torch.Tensor, bits: int, saturations: Saturations | None = None
) -> torch.Tensor: ...
@overload
def saturate(x: int, bits: int, saturations: Saturations | None = None) -> int: ...
def saturate(x, bits, saturations=None):
    """Clamp to the signed range of `bits`; `saturations` counts the elements that changed."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    y = x.clamp(low, high) if isinstance(x, torch.Tensor) else max(low, min(high, x))
    if saturations is not None:
        saturations.add(y != x)
    return y


def align(x, frac, new_frac, saturations=None):
    """An ACT of `frac` fraction bits as an ACT of `new_frac`: the way into every function."""
    return saturate(round_shift(x, frac - new_frac), ACT_BITS, saturations)


def leading_one(x):
    """Position of the highest set bit of x > 0 (-1 for 0): what a priority encoder finds."""
    if not isinstance(x, torch.Tensor):
        return x.bit_length() - 1
    position = (torch.frexp(x.double()).exponent.long() - 1).clamp(min=0)
    return position - ((torch.ones_like(x) << position) > x).long()  # float64 may round up
