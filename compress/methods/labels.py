# SPDX-License-Identifier: Apache-2.0
"""Learn from the labels: cross-entropy at every layer's exit, so that any layer can be the last."""

from dataclasses import dataclass

from compress.losses import task_loss
from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Labels"]


class Labels(Method):
    """Cross-entropy against the labels; rows without one (-1) do not count.

    Later exits weigh more, the last as much as all others together.
    """

    name = "labels"
    kind = "training"
    source = "DeeBERT (Xin et al., ACL 2020) section 3.2, with all exits trained together"
    stays = False

    @dataclass(frozen=True)
    class Settings:
        """share : weight of the term; smoothing : share of the label spread over all classes"""

        share: float = 1.0
        smoothing: float = 0.0

        def __post_init__(self):
            check_settings(self, share=(0, 100), smoothing=(0, 0.9))

    def losses(self, network, output, batch, progress):
        loss = task_loss(output.logits, batch.labels, self.settings.smoothing)
        return {"labels": self.settings.share * loss}
