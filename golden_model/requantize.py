# SPDX-License-Identifier: Apache-2.0
"""Accumulator -> ACT: add the bias at the accumulator's scale, drop bits, clamp to 16."""

from golden_model.fixed import ACT_BITS, round_shift, saturate

__all__ = ["add_residual", "requantize", "requantize_float"]


def requantize(accumulator, bias, shift, saturations=None):
    """saturate(round_shift(accumulator + bias, shift), 16); shift is 0..47."""
    return saturate(round_shift(accumulator + bias, shift), ACT_BITS, saturations)


def requantize_float(accumulator, bias):
    return accumulator + bias


def add_residual(x, y, shift, saturations=None):
    """saturate(round_shift(x, shift) + y, 16): x aligned to the format of y; shift is 0..15."""
    return saturate(round_shift(x, shift) + y, ACT_BITS, saturations)
