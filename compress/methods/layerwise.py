# SPDX-License-Identifier: Apache-2.0
"""What lessons of several layers have in common: how much they count, and which layers learn."""

from dataclasses import dataclass

from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Layerwise"]


class Layerwise(Method):
    """A teacher's lesson for each how many of the student's layers, the teacher's spread evenly."""

    kind = "knowledge"
    stays = False

    @dataclass(frozen=True)
    class Settings:
        """share : weight of the term; every : each how many of the student's layers learn so"""

        share: float = 1.0
        every: int = 1

        def __post_init__(self):
            check_settings(self, share=(0, 100), every=(1, 48))

    def begin(self, network, facts):
        self._teacher = facts.teacher

    def layers(self, count: int) -> range:
        """The numbers, from 1, of the layers that learn."""
        return range(self.settings.every, count + 1, self.settings.every)
