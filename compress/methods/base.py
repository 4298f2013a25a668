# SPDX-License-Identifier: Apache-2.0
"""What a method of compression may do: the hooks of `Method`, all of them optional.

A method is one file in this folder and one line of the registry in `__init__`. A recipe's stage
names it with its settings, `[stage.NAME]`; from that stage on it belongs to the network. In its
own stages it is active: it has schedules, optimiser groups and loss terms. In later stages that do
not name it again, what it made stays (its masks, its codes) and nothing of it is trained.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from compress.costs import Cost

__all__ = ["Facts", "Method"]


@dataclass(frozen=True)
class Facts:
    """What a method may ask for when its stage begins or ends.

    Parameters
    ----------
    examples : the stage's rows (compress.data.rows.Examples)
    held : rows that no stage trains on, for choosing thresholds
    counts : (V,) how often each token occurs in the task's training rows
    teacher : who answers for the stage's rows (compress.teachers.teacher.Teacher), or None
    """

    examples: Any
    held: Any
    counts: torch.Tensor
    teacher: Any = None


class Method(nn.Module):
    """One method at work on one network; parameters and buffers of its own are saved with it.

    Class attributes
    ----------------
    name : what a recipe calls it
    kind : tokens, exit, attention, weights, numbers, knowledge or training
    source : paper and section of its formulas
    stays : whether it belongs to the network when its stage is over; a teacher's lessons do not
    exact : whether the machine computes what it does, bit for bit; otherwise it is float only
    Settings : frozen dataclass of the recipe's keys, which checks itself (ValueError, TypeError)
    conflicts : names of methods that may not be in the same recipe
    needs : names of methods one of which must be in this stage or an earlier one
    signals : what it asks the teacher for: logits, hidden, maps, saliency
    owns : beginnings of parameter names that only this method may train
    version : counted up when the same settings come to give other results
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    source: ClassVar[str]
    stays: ClassVar[bool] = True
    exact: ClassVar[bool] = True
    conflicts: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    signals: ClassVar[tuple[str, ...]] = ()
    owns: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    @dataclass(frozen=True)
    class Settings:
        pass

    def __init__(self, settings, network):
        """`settings` as in the recipe; the network is there for its sizes and not kept."""
        super().__init__()
        self.settings = settings

    def begin(self, network, facts: Facts) -> None:
        """Set starting values, at the beginning of an own stage; a resumed stage does so too."""

    def mode(self, mode, progress: float | None):
        """`mode` with what the method switches on.

        `progress` runs from 0 to 1 in an own stage and is None elsewhere, also in evaluation.
        """
        return mode

    def weight(self, network, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The weight `name` as this method leaves it; methods follow each other as in the recipe.

        The query's is divided by sqrt(head) before the first of them, as the machine has it.
        """
        return weight

    def groups(self, network, rate: float) -> list[dict[str, Any]]:
        """Optimiser groups of its own: params, and where they differ lr and weight_decay."""
        return []

    def before(self, network, progress: float, step: int) -> None:
        """Schedules, before a step of an own stage."""

    def losses(self, network, output, batch, progress: float) -> dict[str, torch.Tensor]:
        """{name: term}, already weighted, of an own stage."""
        return {}

    def after(self, network, progress: float) -> None:
        """Clamps, after a step of an own stage."""

    def finish(self, network, facts: Facts) -> None:
        """What an own stage ends with, on the weights that it leaves."""

    def cost(self, network, found: dict[str, Cost], tokens: int) -> None:
        """Change what the tensors cost, by name (compress.costs), for a sentence of `tokens`."""

    def settle(self, network, facts: Facts) -> dict[str, Any]:
        """Choose thresholds on held-out rows when all stages are done: {name: value} to report."""
        return {}
