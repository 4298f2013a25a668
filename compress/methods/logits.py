# SPDX-License-Identifier: Apache-2.0
"""Learn from a teacher's logits."""

from dataclasses import dataclass

from compress.losses import distillation
from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Logits"]


class Logits(Method):
    """T^2 times the cross-entropy against the teacher's softmax at temperature T, at every exit."""

    name = "logits"
    kind = "knowledge"
    source = "Hinton, Vinyals, Dean, arXiv 1503.02531, section 2"
    stays = False
    signals = ("logits",)

    @dataclass(frozen=True)
    class Settings:
        """share : weight of the term; temperature : T; last : share of the last layer's exit"""

        share: float = 0.8
        temperature: float = 2.0
        last: float = 0.5

        def __post_init__(self):
            check_settings(self, share=(0, 100), temperature=(0.1, 100), last=(0, 0.999))

    def begin(self, network, facts):
        self._teacher = facts.teacher

    def losses(self, network, output, batch, progress):
        wanted = self._teacher.ask("logits", batch)
        loss = distillation(output.logits, wanted, self.settings.temperature, self.settings.last)
        return {"logits": self.settings.share * loss}
