# SPDX-License-Identifier: Apache-2.0
"""LayerNorm from exact sums, without division (docs/numerics.md).

N = H sum(x^2) - (sum x)^2,  y = (H x - sum x) / sqrt(N) * gamma + beta;  N = 0 gives beta.
"""

from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import FACTOR_BITS, MANTISSA_FRAC, NORM_FRAC
from golden_model.functions import rsqrt

__all__ = ["CENTRED_FRAC", "layernorm", "layernorm_float"]

CENTRED_FRAC = 11  # of (H x - sum x) / 2^q, which is below 2 sqrt(H) <= 64


def layernorm(x, gamma, beta, shift, saturations=None):
    """ACT x (..., H) of any scale -> ACT; gamma has a scale of its own, beta that of the result.

    shift = NORM_FRAC + gamma's fraction bits - the result's, 0..47. Three bit drops, in this order:
    to the 18-bit factor, to the normalized value (12 fraction bits, 18 bits), to the result.
    Widths for H <= 1024 (h = 10 bits): total 16+h, squares 31+h, n 30+2h unsigned, centred 17+h.
    """
    size = x.shape[-1]
    total = x.sum(-1, keepdim=True)
    squares = (x * x).sum(-1, keepdim=True)
    n = size * squares - total * total
    w, q = rsqrt(n)  # 1/sqrt(n) = w * 2^-(16 + q)
    centred = size * x - total
    factor = saturate(round_shift(centred, q - CENTRED_FRAC), FACTOR_BITS, saturations)
    normal = round_shift(factor * w, MANTISSA_FRAC + CENTRED_FRAC - NORM_FRAC)
    normal = saturate(normal, FACTOR_BITS, saturations)
    return saturate(round_shift(normal * gamma, shift) + beta, ACT_BITS, saturations)


def layernorm_float(x, gamma, beta):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / variance.clamp(min=1e-300).sqrt() * gamma + beta
