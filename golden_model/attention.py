# SPDX-License-Identifier: Apache-2.0
"""Attention of the live heads of one sentence, with its span mask.

Q K^T and P V are products of codes on the same array; the softmax's rounding is in `softmax`.
"""

import torch

from golden_model import softmax
from golden_model.mac_array import mac_array
from golden_model.requantize import requantize

__all__ = ["attention", "attention_float", "span_mask"]


def span_mask(span, rows):
    """(h, m, m): the table's value at |i - j| of the original positions `rows`; span (h, S)."""
    return span[:, (rows[:, None] - rows[None, :]).abs()]


def attention(q, k, v, rows, network, saturations=None):
    """Codes q, k, v (m, h, head) -> score (h, m, m) ACT, numerator codes (h, m, m),
    denominator (h, m), context (m, h, head) ACT.
    """
    fmt = network.fmt
    q, k, v = (t.transpose(0, 1) for t in (q, k, v))  # (h, m, head)
    score = requantize(mac_array(q, k.transpose(1, 2), fmt), 0, network.score_shift, saturations)
    e = softmax.numerator(score, network.frac["score"])  # (h, m, m) Q1.16
    e = softmax.mask_numerator(e, span_mask(network.span, rows))
    numerator = softmax.encode_numerator(e, fmt)
    denominator = softmax.denominator(numerator, fmt)  # (h, m)
    accumulator = mac_array(numerator, v, fmt)  # (h, m, head)
    context = softmax.context(
        accumulator, denominator[..., None], network.context_shift, fmt, saturations
    )
    return score, numerator, denominator, context.transpose(0, 1)


def attention_float(q, k, v, span):
    """Context (m, h, head) of q, k, v (m, h, head), scale already in q; span (h, m, m)."""
    score = torch.einsum("qhd,khd->hqk", q, k)
    return torch.einsum("hqk,khd->qhd", softmax.softmax_float(score, span), v)
