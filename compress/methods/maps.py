# SPDX-License-Identifier: Apache-2.0
"""Learn a teacher's attention maps: to whom each token listens."""

import dataclasses

from compress.methods.layerwise import Layerwise

__all__ = ["Maps"]

LEAST = 1e-6  # of a probability, before its logarithm


class Maps(Layerwise):
    """KL divergence of the student's attention distributions from the teacher's, of live queries.

    Layer k of the student learns layer map(k) of the teacher, spread evenly. Where the numbers of
    heads differ, the mean over the heads is learned.
    """

    name = "maps"
    source = "MiniLM (Wang et al., NeurIPS 2020) equation 1, of every layer"
    signals = ("maps",)

    def mode(self, mode, progress):
        return mode if progress is None else dataclasses.replace(mode, maps=True)

    def losses(self, network, output, batch, progress):
        theirs, ours, live = self._teacher.ask("maps", batch), output.maps, batch.inputs[2]
        layers = self.layers(len(ours))
        total = 0
        for layer in layers:
            wanted = theirs[round(layer * len(theirs) / len(ours)) - 1]
            found = ours[layer - 1]
            if wanted.shape != found.shape:
                wanted, found = wanted.mean(1, keepdim=True), found.mean(1, keepdim=True)
            ratio = wanted.clamp(min=LEAST).log() - found.clamp(min=LEAST).log()
            error = (wanted * ratio).sum(3).mean(1) * live
            total = total + error.sum() / live.sum()
        return {"maps": self.settings.share * total / len(layers)}
