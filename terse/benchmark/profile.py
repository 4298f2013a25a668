# SPDX-License-Identifier: Apache-2.0
"""Thresholds with which a random network keeps as many tokens as a profile says."""

from dataclasses import replace

import torch

from golden_model.formats import ETA_FRAC
from golden_model.model import run

__all__ = ["fit"]

MOST = 1 << ETA_FRAC  # eta 1.0


def fit(network, sentences, profile):
    """eta (layers,), unsigned Q1.16, that keeps `profile[l]` tokens in layer l, on average.

    sentences : (ids, segments) pairs. Layer by layer, for what one drops does not enter the next.
    How many stay of a single sentence is what the golden model's predictor finds.
    A token with more than the mean of its sentence always stays: eta is at most 1.
    """
    layers, eta = network.model.layers, torch.zeros_like(network.eta)
    if len(profile) != layers or list(profile) != sorted(profile, reverse=True) or min(profile) < 1:
        raise ValueError(
            f"Profile must be {layers} numbers of tokens, none above the one before and "
            f"none below 1, not {profile}"
        )
    for layer, wanted in enumerate(profile):
        short = replace(network, model=replace(network.model, layers=layer + 1), eta=eta)
        found = [run(short, *words).tensors[f"layer{layer}.predict_exp"] for words in sentences]
        eta[layer] = _threshold(found, (wanted - 1) * len(sentences))
    return eta


def _threshold(found, wanted):
    """The eta that keeps `wanted` tokens besides every [CLS]; equal ones stay together.

    Half-way between the last that stays and the first that goes.

    found : numerators e (n,) of each sentence; token i stays up to an eta of n e_i / sum(e)
    """
    largest = (
        torch.cat([((len(e) * e[1:]) << ETA_FRAC) // e.sum() for e in found])
        .clamp(max=MOST)
        .sort(descending=True)
        .values.tolist()
    )
    stays, goes = [MOST, *largest, 0][wanted : wanted + 2]
    return (stays + goes + 1) // 2
