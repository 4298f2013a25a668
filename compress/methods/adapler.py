# SPDX-License-Identifier: Apache-2.0
"""Learn which tokens to drop: contribution predictors, thresholds, soft removal (AdapLeR)."""

import dataclasses
from dataclasses import dataclass

import torch

from compress.calibrate import settle_eta
from compress.costs import Cost
from compress.losses import length_loss, predictor_loss
from compress.methods.base import Method
from compress.network import HARD
from compress.recipes.checks import check_settings

__all__ = ["AdapLeR"]

FASTER = 5  # the predictors' learning rate over the network's
MARGIN = 0.01, 1.0  # eta's bounds


class AdapLeR(Method):
    """Predictors learn the teacher's saliency; eta learns under a price of length.

    Removal is soft at first and ever sharper (`sharpness`, lambda), or hard from the beginning. The
    gradient of the length reaches eta alone, that of the predictors' KL the predictors alone.
    """

    name = "adapler"
    kind = "tokens"
    source = "AdapLeR (Modarressi et al., ACL 2022) sections 3.1 to 3.4"
    signals = ("saliency",)
    owns = ("predictor.", "eta")

    @dataclass(frozen=True)
    class Settings:
        """Weights and schedules.

        Parameters
        ----------
        gamma : weight of the predictors' KL
        phi : price of keeping all tokens in all layers
        rate : learning rate of eta
        first, last : lambda at the beginning and the end, geometric between
        hard : drop tokens outright and leave eta as it is
        live : share of tokens that may stay when the stage ends, mean over the layers
        """

        gamma: float = 0.3
        phi: float = 0.3
        rate: float = 1e-3
        first: float = 10.0
        last: float = 1000.0
        hard: bool = False
        live: float = 0.5

        def __post_init__(self):
            check_settings(
                self,
                gamma=(0, 100),
                phi=(0, 100),
                rate=(0, 1),
                first=(1, 1e9),
                last=(1, 1e9),
                live=(0.05, 1),
            )

    def begin(self, network, facts):
        self._teacher = facts.teacher

    def mode(self, mode, progress):
        s = self.settings
        soft = progress is not None and not s.hard
        sharpness = s.first * (s.last / s.first) ** progress if soft else HARD
        return dataclasses.replace(mode, sharpness=sharpness)

    def groups(self, network, rate):
        groups = [{"params": [*network.predictor.parameters()], "lr": FASTER * rate}]
        if not self.settings.hard:
            groups += [{"params": [network.eta], "lr": self.settings.rate, "weight_decay": 0.0}]
        return groups

    def losses(self, network, output, batch, progress):
        wanted = self._teacher.ask("saliency", batch)
        terms = {"predictors": self.settings.gamma * predictor_loss(output, wanted)}
        if not self.settings.hard:
            terms["length"] = self.settings.phi * length_loss(output, batch.inputs[2])
        return terms

    def cost(self, network, found, tokens):
        """Predictors are stored and run; how many tokens go, only sentences can tell."""
        config = network.config
        hidden, score = network.predictor.hidden.weight, network.predictor.score.weight
        found["predictor.hidden.weight"] = Cost(hidden.numel(), uses=tokens)
        found["predictor.score.weight"] = Cost(score.numel(), uses=tokens)
        found["predictor.biases"] = Cost(config.layers * (config.predictor + 1))
        found["eta"] = Cost(config.layers)

    @torch.no_grad()
    def after(self, network, progress):
        network.eta.clamp_(*MARGIN)

    def finish(self, network, facts):
        if not self.settings.hard:
            settle_eta(network, facts.held, self.settings.live)
