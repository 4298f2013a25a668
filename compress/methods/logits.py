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
        """share : weight of the term; temperature : T"""

        share: float = 0.8
        temperature: float = 2.0

        def __post_init__(self):
            check_settings(self, share=(0, 100), temperature=(0.1, 100))

    def begin(self, network, facts):
        self._teacher = facts.teacher

    def losses(self, network, output, batch, progress):
        wanted = self._teacher.ask("logits", batch)
        loss = distillation(output.logits, wanted, self.settings.temperature)
        return {"logits": self.settings.share * loss}
