# SPDX-License-Identifier: Apache-2.0
"""Embedding: word + position + segment rows, as integers of one ACT."""

from golden_model.adaptivfloat import decode_integer
from golden_model.fixed import ACT_BITS, round_shift, saturate

__all__ = ["embedding_sum", "embedding_sum_float"]


def embedding_sum(word, position, segment, shifts, fmt, saturations=None):
    """saturate(sum of round_shift(d, shift), 16): rows of codes (n, E) -> ACT embed_sum.

    Each table has a shift of its own, -8..31.
    """
    total = sum(
        round_shift(decode_integer(codes, fmt), shift)
        for codes, shift in zip((word, position, segment), shifts, strict=True)
    )
    return saturate(total, ACT_BITS, saturations)


def embedding_sum_float(word, position, segment):
    return word + position + segment
