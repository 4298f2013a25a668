# SPDX-License-Identifier: Apache-2.0
"""Learn from the labels: cross-entropy at every layer's exit, so that any layer can be the last."""

from dataclasses import dataclass

from compress.losses import task_loss
from compress.methods.base import Method
from compress.recipes.checks import check_settings

__all__ = ["Labels"]


class Labels(Method):
    """Cross-entropy against the labels; rows without one (-1) do not count.

    Later exits weigh more.
    """

    name = "labels"
    kind = "training"
    source = "DeeBERT (Xin et al., ACL 2020) section 3.2, with all exits trained together"
    stays = False

    @dataclass(frozen=True)
    class Settings:
        """How much it counts, and what.

        Parameters
        ----------
        share : weight of the term
        smoothing : share of the label spread over all classes
        last : share of the last layer's exit, all others have the rest
        """

        share: float = 1.0
        smoothing: float = 0.0
        last: float = 0.5

        def __post_init__(self):
            check_settings(self, share=(0, 100), smoothing=(0, 0.9), last=(0, 0.999))

    def losses(self, network, output, batch, progress):
        s = self.settings
        loss = task_loss(output.logits, batch.labels, s.smoothing, s.last)
        return {"labels": self.settings.share * loss}
