# SPDX-License-Identifier: Apache-2.0
"""One stage at work: its methods, their optimiser groups, and what a step minimises."""

import torch

from compress.methods import METHODS
from compress.recipes.device import half_precision
from compress.recipes.loop import Average

__all__ = ["Training"]

HEAD = ("classifier.", "pooler.", "exit.")


class Training:
    """What `Loop` runs for a stage of a recipe.

    Parameters
    ----------
    stage : compress.recipes.recipe.Stage
    network : with the weights of the stage's parent and the methods at work on it; it is changed
    facts : compress.methods.base.Facts
    """

    def __init__(self, stage, network, facts):
        self.stage = stage
        self.name, self.epochs, self.batch = stage.name, stage.epochs, stage.batch
        for name, p in network.named_parameters():
            p.requires_grad_(not name.startswith(tuple(stage.frozen)) if stage.frozen else True)
        self.network, self.facts = network, facts
        self.device = facts.examples.device
        self.half = half_precision(stage.precision, self.device)
        self.methods = []
        for name, settings in stage.methods.items():
            method = METHODS[name](settings, network).to(facts.examples.device)
            network.attach(method)
            method.begin(network, facts)
            self.methods.append(method)
        self.optimiser = torch.optim.AdamW(
            [*self.own_groups(), *self.groups(stage.rate)],
            lr=stage.rate,
            weight_decay=stage.decay,
        )
        self.average = Average(network, stage.average) if stage.average else None
        self.terms = {}  # of the last step

    def rest(self):
        """What no method has to itself: it learns at the stage's rate."""
        owned = tuple(start for method in METHODS.values() for start in method.owns)
        return {
            name: p
            for name, p in self.network.named_parameters()
            if not name.startswith((*owned, *self.stage.frozen, "methods."))
        }

    def own_groups(self):
        """The rest in two groups: classifiers and poolers, everything else."""
        rest = self.rest()
        # Lists, in the network's order: the optimiser's state is kept by place.
        head = [name for name in rest if name.startswith(HEAD)] if self.stage.head_rate else []
        groups = [{"params": [p for name, p in rest.items() if name not in head]}]
        if head:
            groups.append({"params": [rest[name] for name in head], "lr": self.stage.head_rate})
        return groups

    def groups(self, rate):
        return [group for method in self.methods for group in method.groups(self.network, rate)]

    def before(self, progress, step):
        for method in self.methods:
            method.before(self.network, progress, step)
        mode = self.network.base
        for method in self.network.methods.values():
            mode = method.mode(mode, progress if method in self.methods else None)
        self.network.mode = mode

    def loss(self, batch, progress):
        # Codes are made from the bits of a float32.
        half = self.half and self.network.mode.biases is None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            output = self.network(*batch.inputs)
        self.terms = {}
        for method in self.methods:
            self.terms |= method.losses(self.network, output, batch, progress)
        return sum(self.terms.values())

    def after(self, progress):
        for method in self.methods:
            method.after(self.network, progress)

    def finish(self):
        """Take the averaged weights, let the methods end, and send those away that only taught."""
        if self.average:
            self.network.load_state_dict(self.average.weights, strict=False)
        for method in self.methods:
            method.finish(self.network, self.facts)
        for method in self.methods:
            if not method.stays:
                del self.network.methods[method.name]
