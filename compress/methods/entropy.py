# SPDX-License-Identifier: Apache-2.0
"""Leave at the first layer that is sure: the threshold of the entropy, chosen on held-out rows."""

from dataclasses import dataclass

from compress.calibrate import choose_point
from compress.costs import Cost
from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Entropy"]


class Entropy(Method):
    """Exit at the first layer whose logits have an entropy below a threshold.

    When all stages are done, a factor on eta and the threshold are chosen together: the least
    cross-entropy on held-out rows within both budgets.
    """

    name = "entropy"
    kind = "exit"
    source = "DeeBERT (Xin et al., ACL 2020) section 3.3; EdgeBERT (Tambe et al., MICRO 2021)"

    @dataclass(frozen=True)
    class Settings:
        """live : share of executed token-layers that may be alive; layers : share of layers run"""

        live: float = 0.58
        layers: float = 0.62

        def __post_init__(self):
            check_settings(self, live=(0.01, 1), layers=(0.01, 1))

    def cost(self, network, found, tokens):
        """Off-ramps after every layer but the last; at which one it ends, sentences tell."""
        config = network.config
        for name in ("pooler", "classifier"):
            weight = network.get_parameter(f"exit.{name}.weight")
            found[f"exit.{name}.weight"] = Cost(weight.numel(), uses=config.layers - 1)
            found[f"exit.{name}.bias"] = Cost(len(weight))

    def settle(self, network, facts):
        s = self.settings
        return {"exit_threshold": choose_point(network, facts.held, s.live, s.layers)}
