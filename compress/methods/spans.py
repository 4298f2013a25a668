# SPDX-License-Identifier: Apache-2.0
"""Learn how far each head looks, and take out heads that look nowhere."""

import dataclasses
from dataclasses import dataclass

import torch

from compress.costs import ATTENTION
from compress.methods.base import Method
from compress.network import RAMP, span_table
from compress.recipes.checks import check_settings

__all__ = ["Spans"]

NEAR = 1.0  # a head whose reach ends below this many tokens sees little but itself


class Spans(Method):
    """One reach per head under a price; near-dead heads die when the reaches become whole.

    The distance is |i - j| in the compacted sentence, the ramp RAMP tokens long, so that a span
    really reaches zero. The longest head never dies.
    """

    name = "spans"
    kind = "attention"
    source = "Sukhbaatar et al., ACL 2019, equations 4 and 5 (without the input-dependent z)"
    owns = ("attention.reach",)

    @dataclass(frozen=True)
    class Settings:
        """What the reaches cost, and what becomes of them.

        Parameters
        ----------
        price : of a token of reach, mean over heads, in the loss
        longest : tokens, the reach at the beginning
        rate : learning rate of the reaches, tokens
        settle : share of the stage after which reaches are whole and stay
        dead : heads that die at least, the shortest ones
        """

        price: float = 0.0015
        longest: int = 24
        rate: float = 0.05
        settle: float = 0.6
        dead: int = 0

        def __post_init__(self):
            check_settings(
                self, price=(0, 10), longest=(1, 512), rate=(0, 10), settle=(0, 1), dead=(0, 63)
            )

    def begin(self, network, facts):
        with torch.no_grad():
            network.attention.reach.clamp_(max=self.settings.longest)

    def mode(self, mode, progress):
        return dataclasses.replace(mode, spans=True)

    def groups(self, network, rate):
        return [
            {"params": [network.attention.reach], "lr": self.settings.rate, "weight_decay": 0.0}
        ]

    def losses(self, network, output, batch, progress):
        if progress > self.settings.settle:
            return {}
        return {"spans": self.settings.price * (network.attention.reach + RAMP).mean()}

    @torch.no_grad()
    def after(self, network, progress):
        network.attention.reach.clamp_(-RAMP, network.config.positions)
        if progress > self.settings.settle:
            self._settle(network.attention.reach)

    def cost(self, network, found, tokens):
        """A dead head compares nothing, a short one the tokens within its reach."""
        spans = span_table(network.attention.reach.detach(), network.config.positions)
        reach = (spans[:, :tokens] > 0).sum(1)  # distances that a head sees
        far = sum(2 * (tokens - d) * (reach > d) for d in range(1, tokens))
        pairs = (reach > 0) * tokens + far
        found[ATTENTION].uses *= pairs.sum().item() / (tokens**2 * len(reach))

    @torch.no_grad()
    def finish(self, network, facts):
        self._settle(network.attention.reach)

    def _settle(self, reach):
        """Whole tokens; near-dead heads and the `dead` shortest die, but never the longest."""
        order = reach.argsort(stable=True)
        dead = reach < NEAR
        dead[order[: self.settings.dead]] = True
        dead[order[-1]] = False
        reach.copy_(torch.where(dead, -RAMP, reach.round()))
