# SPDX-License-Identifier: Apache-2.0
"""Contribution predictor of AdapLeR: H -> 32, GELU, 32 -> 1, for every live token."""

from golden_model.adaptivfloat import encode_act
from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import GELU_FRAC
from golden_model.gelu import gelu, gelu_float

__all__ = ["contribution", "contribution_float"]


def contribution(x, hidden, score, kind, saturations=None):
    """(predict_hidden (n, 32), predict (n,)) ACT from codes x (n, H); hidden, score: Linear."""
    inner = saturate(round_shift(hidden(x, saturations), hidden.align), ACT_BITS, saturations)
    inner = gelu(inner, kind)
    codes = encode_act(inner, GELU_FRAC, score.input_bias, score.fmt)
    return inner, score(codes, saturations)[:, 0]


def contribution_float(x, hidden, score, kind):
    """The same from floats; hidden and score are functions."""
    inner = gelu_float(hidden(x), kind)
    return inner, score(inner)
