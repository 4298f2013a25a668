# SPDX-License-Identifier: Apache-2.0
"""Zero more and more of the smallest weights of every matrix."""

from dataclasses import dataclass

import torch

from compress.methods.base import Method
from compress.prune import EMBEDDING, HEADS, PRUNED, cubic, magnitude_mask
from compress.recipes.checks import check_settings

__all__ = ["Magnitude"]

EVERY = 50  # steps between new masks


class Magnitude(Method):
    """The smallest weights of each matrix become zero on a cubic schedule.

    Weights of dead heads are zero besides. In the word table rare words go first: a magnitude
    counts with the fourth root of its word's count.
    """

    name = "magnitude"
    kind = "weights"
    source = "Zhu and Gupta, arXiv 1710.01878, equation 1"

    @dataclass(frozen=True)
    class Settings:
        """zeros, embeddings : shares of zeros in encoder and embeddings; settled : of the stage"""

        zeros: float = 0.61
        embeddings: float = 0.61
        settled: float = 0.6

        def __post_init__(self):
            check_settings(self, zeros=(0, 0.99), embeddings=(0, 0.99), settled=(0.15, 1))

    def __init__(self, settings, network):
        super().__init__(settings, network)
        for name in PRUNED:
            self.register_buffer(_buffer(name), torch.ones_like(network.get_parameter(name)))

    def begin(self, network, facts):
        counts = facts.counts.to(network.eta.device)
        self._importance = (counts + 10)[:, None] ** 0.25

    def weight(self, network, name, weight):
        return weight * getattr(self, _buffer(name)) if name in PRUNED else weight

    def before(self, network, progress, step):
        settled = self.settings.settled
        if step == 0 or (step % EVERY == 0 and progress < settled + 0.05):
            self._renew(network, cubic(progress, 1.0, end=settled))

    def cost(self, network, found, tokens):
        """Zeros are not stored and not multiplied; a bit a weight says where they are."""
        for name in PRUNED:
            if name in found:
                found[name].index = getattr(self, _buffer(name)).numel()
                found[name].values *= getattr(self, _buffer(name)).mean().item()

    def finish(self, network, facts):
        """A stage too short for its schedule gets its zeros at the end."""
        if any(1 - getattr(self, _buffer(name)).mean() < self._zeros(name) for name in PRUNED):
            self._renew(network, 1.0)

    def _zeros(self, name):
        return self.settings.embeddings if name in EMBEDDING else self.settings.zeros

    @torch.no_grad()
    def _renew(self, network, share):
        """New masks with that share of the settings' zeros."""
        live = network.live_features()
        for name in PRUNED:
            weight = network.get_parameter(name)
            axis = HEADS.get(name)
            part = weight if axis is None else weight.index_select(axis, live)
            importance = self._importance if name == "embedding.word" else None
            mask = magnitude_mask(part, share * self._zeros(name), importance)
            if axis is not None:
                mask = torch.zeros_like(weight).index_copy(axis, live, mask)
            getattr(self, _buffer(name)).copy_(mask)


def _buffer(name):
    return "mask_" + name.replace(".", "_")
