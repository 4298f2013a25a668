# SPDX-License-Identifier: Apache-2.0
"""Entropy of the logits: the exit decision (exact, division-free) and the reported value.

With d = max - x, e = exp(-d), z = sum e:  entropy = ln(z) + sum(d e) / z.
"""

import torch

from golden_model.fixed import round_shift
from golden_model.formats import EXP_FRAC, EXP_IN_FRAC, LN_FRAC, THRESHOLD_BITS, THRESHOLD_FRAC
from golden_model.functions import exp, ln, reciprocal
from golden_model.softmax import distance

__all__ = ["entropy_float", "entropy_sums", "is_sure", "reported_entropy"]

_PRODUCT_FRAC = EXP_IN_FRAC + EXP_FRAC  # of sum(d e)
_ALIGN = EXP_FRAC + LN_FRAC - _PRODUCT_FRAC  # 5: to the scale of z ln(z)


def entropy_sums(logits, frac):
    """(z, s): sum of e, unsigned Q5.16 (>= 1.0), and sum of d e, unsigned with 27 fraction bits."""
    d = distance(logits, logits.amax(-1, keepdim=True), frac)
    e = exp(d)
    return e.sum(-1), (d * e).sum(-1)


def is_sure(z, s, threshold):
    """z ln(z) + s < threshold * z, strict; threshold unsigned Q2.16. Exact at 32 fraction bits."""
    return z * ln(z) + (s << _ALIGN) < threshold * z


def reported_entropy(z, s):
    """ln(z) + s / z as unsigned Q2.16 (18 bits, clamped): for the host and the DVFS table.

    (w, p) = reciprocal(z); factor = round_shift(s, p - 3), 17 bits;
    s / z = round_shift(factor * w, 14).
    """
    w, p = reciprocal(z)
    guard = 3
    factor = round_shift(s, p - guard)
    quotient = round_shift(factor * w, _PRODUCT_FRAC + guard - THRESHOLD_FRAC)
    return (ln(z) + quotient).clamp(0, 2**THRESHOLD_BITS - 1)


def entropy_float(logits):
    """Entropy of softmax(logits) in nats."""
    log = torch.log_softmax(logits, -1)
    return -(log.exp() * log).sum(-1)
