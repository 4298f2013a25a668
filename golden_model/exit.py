# SPDX-License-Identifier: Apache-2.0
"""Off-ramp on [CLS]: pooler, tanh, classifier. `entropy` decides; argmax ties go low."""

import torch

from golden_model.adaptivfloat import encode_act
from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import TANH_FRAC
from golden_model.functions import tanh

__all__ = ["argmax", "off_ramp", "off_ramp_float"]


def off_ramp(x, pooler, classifier, saturations=None):
    """(pooled (H,), logits (C,)) ACT from the [CLS] row's codes x (H,); two Linear."""
    pooled = saturate(round_shift(pooler(x, saturations), pooler.align), ACT_BITS, saturations)
    pooled = tanh(pooled)
    codes = encode_act(pooled, TANH_FRAC, classifier.input_bias, classifier.fmt)
    return pooled, classifier(codes, saturations)


def off_ramp_float(x, pooler, classifier):
    """The same from floats; pooler and classifier are functions."""
    pooled = torch.tanh(pooler(x))
    return pooled, classifier(pooled)


def argmax(logits):
    """The lowest class among those with the largest logit."""
    return int((logits == logits.max()).nonzero()[0])
