# SPDX-License-Identifier: Apache-2.0
"""Train with weights and activations as the machine's codes."""

import dataclasses
from dataclasses import dataclass, field

import torch

from compress.calibrate import activation_biases, observe_ranges
from compress.fakequant import fake_quantise
from compress.methods.base import Method
from compress.network import TABLES
from golden_model.config import AF8, NumberFormat, from_json

__all__ = ["AdaptivFloat"]


class AdaptivFloat(Method):
    """Weights and activations go through codes; the gradient passes straight through.

    A weight's bias follows from its largest value in each step, an activation's from the ranges
    that are observed when the stage begins.
    """

    name = "adaptivfloat"
    kind = "numbers"
    source = "AdaptivFloat (Tambe et al., DAC 2020) algorithm 1; Bengio et al., arXiv 1308.3432"

    @dataclass(frozen=True)
    class Settings:
        """format : {bits, exponent} of the codes; exponent 0 is int8"""

        format: NumberFormat = field(default=AF8)

        def __post_init__(self):
            if isinstance(self.format, dict):
                object.__setattr__(self, "format", from_json(NumberFormat, self.format))

    def __init__(self, settings, network, ranges=None):
        super().__init__(settings, network)
        self.ranges = ranges

    def get_extra_state(self):
        return {"ranges": self.ranges}

    def set_extra_state(self, state):
        self.ranges = state["ranges"]

    def begin(self, network, facts):
        if self.ranges is None:
            self.ranges = observe_ranges(network, facts.examples)

    def mode(self, mode, progress):
        if self.ranges is None:
            return mode
        fmt = self.settings.format
        return dataclasses.replace(mode, biases=activation_biases(self.ranges, fmt), format=fmt)

    def weight(self, network, name, weight):
        if self.ranges is None:
            return weight
        return fake_quantise(weight, fmt=self.settings.format)

    def cost(self, network, found, tokens):
        """Weights are codes; biases and the factors of LayerNorms have 32 bits as before."""
        for name, cost in found.items():
            if name.endswith(".weight") or name in TABLES:
                cost.bits = self.settings.format.bits

    @torch.no_grad()
    def finish(self, network, facts):
        self.ranges = observe_ranges(network, facts.examples)
