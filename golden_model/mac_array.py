# SPDX-License-Identifier: Apache-2.0
"""The MAC array: exact integer matrix products of decoded codes.

A float64 product is exact because every partial sum is an integer below 2^53, at BLAS speed. The
order of the sum, the tiling and the skipping of zeros leave no trace in the bits.
"""

import torch

from golden_model.adaptivfloat import decode_table

__all__ = ["mac_array", "mac_array_float"]


def mac_array(a, w, fmt):
    """Codes a (..., K) times codes w (..., K, N) -> accumulators (..., N), int64.

    w may be given already decoded, as float64 (weights are decoded once).
    """
    if w.dtype != torch.float64:
        w = decode_table(fmt)[w]
    return (decode_table(fmt)[a] @ w).long()


def mac_array_float(a, w):
    return a @ w
