# SPDX-License-Identifier: Apache-2.0
"""Learn a teacher's hidden states, through a learned linear map where the widths differ."""

import torch
from torch import nn

from compress.methods.layerwise import Layerwise

__all__ = ["Hidden"]


class Hidden(Layerwise):
    """Mean squared error of hidden states over live tokens, both divided by their RMS.

    Layer k of the student learns layer map(k) of the teacher, spread evenly: with as many layers
    each its own. The error is relative, so that no layer outweighs another.
    """

    name = "hidden"
    source = "TinyBERT (Jiao et al., EMNLP 2020) equation 8"
    signals = ("hidden",)
    version = 2  # a teacher that is no encoder has no embeddings in front

    def __init__(self, settings, network):
        super().__init__(settings, network)
        self.register_parameter("map", None)

    def begin(self, network, facts):
        super().begin(network, facts)
        width = network.config.hidden
        wanted = self._teacher.width
        if wanted != width and self.map is None:
            self.map = nn.Parameter(torch.randn(wanted, width) / width**0.5)

    def groups(self, network, rate):
        return [] if self.map is None else [{"params": [self.map], "lr": rate}]

    def losses(self, network, output, batch, progress):
        # An encoder's embeddings come first, which are no layer's.
        theirs = self._teacher.ask("hidden", batch)[-self._teacher.layers :]
        ours, live = output.hidden, batch.inputs[2]
        layers = len(ours)
        chosen = self.layers(layers)
        total = 0
        for layer in chosen:
            wanted = theirs[round(layer * len(theirs) / layers) - 1]
            x = ours[layer - 1] if self.map is None else ours[layer - 1] @ self.map.T
            scale = wanted.square().mean(-1, keepdim=True).clamp(min=1e-6)
            error = ((x - wanted).square() / scale).mean(-1) * live
            total = total + error.sum() / live.sum()
        return {"hidden": self.settings.share * total / len(chosen)}
