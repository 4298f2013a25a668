# SPDX-License-Identifier: Apache-2.0
"""Predict the exit layer from the first layer's entropy, for voltage and frequency."""

from dataclasses import dataclass

from compress.calibrate import learn_dvfs_table, measure
from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Dvfs"]


class Dvfs(Method):
    """A table from bins of the entropy after layer 1 to exit layers, learned on held-out rows.

    `rule` "median" predicts as nearly as a table can (the least absolute error), "mean" gives more
    different layers, "quantile" errs on the side of the deadline.
    """

    name = "dvfs"
    kind = "exit"
    source = "EdgeBERT (Tambe et al., MICRO 2021) section 5.2"
    needs = ("entropy",)

    @dataclass(frozen=True)
    class Settings:
        """rule : median, mean or quantile; quantile : of a bin's exit layers, for the latter"""

        rule: str = "median"
        quantile: float = 0.75

        def __post_init__(self):
            check_settings(self, rule=("median", "mean", "quantile"), quantile=(0, 1))

    def settle(self, network, facts):
        s, held = self.settings, measure(network, facts.held)
        quantile = {"median": 0.5, "mean": None, "quantile": s.quantile}[s.rule]
        return {"dvfs_table": learn_dvfs_table(held, network.exit_threshold, quantile)}
