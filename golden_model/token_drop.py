# SPDX-License-Identifier: Apache-2.0
"""The drop rule of AdapLeR (arXiv 2203.08991), division-free: keep i iff n e_i >= eta sum(e)."""

from golden_model.formats import ETA_FRAC

__all__ = ["keep", "keep_float"]


def keep(e, eta):
    """0/1 per live token: e (n,) unsigned Q1.16, eta unsigned Q1.16. Equality keeps; [CLS], the
    first, always stays. Both sides are at most n * 2^32: 40 bits unsigned for n < 256.
    """
    kept = ((e.shape[-1] * e) << ETA_FRAC) >= eta * e.sum()
    kept[0] = True
    return kept.long()


def keep_float(score, eta):
    """The same from predictor scores: softmax(score)_i >= eta / n."""
    kept = score.softmax(-1) * score.shape[-1] >= eta
    kept[0] = True
    return kept
