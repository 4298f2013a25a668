# SPDX-License-Identifier: Apache-2.0
"""The stages of the recipe: what each switches on, minimises and clamps."""

import torch

from compress.loop import Average
from compress.losses import distillation, length_loss, predictor_loss, task_loss
from compress.network import HARD, RAMP, Mode
from compress.prune import cubic, update_masks

__all__ = ["DEAD", "Finetune", "Prune", "Quantise", "Reduce", "Reviews", "Stage"]

DEAD = 1.0  # a head whose reach ends below this many tokens sees little but itself: it is taken out


class Stage:
    """A stage with a network, optimisers and schedules; Loop runs it.

    Class attributes are its settings: passes over the rows, rows a batch, learning rate and weight
    decay of the main optimiser, decay of the weights' running mean (None: the last step's weights).
    """

    name = "stage"
    epochs = 1.0
    batch = 32
    rate = 1e-3
    decay = 0.01
    averaging = None

    def __init__(self, network, targets=None):
        self.network, self.targets = network, targets or {}
        self.optimisers = self.make_optimisers()
        self.average = Average(network, self.averaging) if self.averaging else None

    def parameters(self):
        """What learns at the stage's rate: all but thresholds, spans and (faster) predictors."""
        return [
            p
            for name, p in self.network.named_parameters()
            if name not in ("eta", "attention.reach") and not name.startswith("predictor.")
        ]

    def make_optimisers(self):
        groups = [
            {"params": self.parameters()},
            {"params": [*self.network.predictor.parameters()], "lr": 5 * self.rate},
        ]
        return [torch.optim.AdamW(groups, lr=self.rate, weight_decay=self.decay)]

    def mode(self, progress):
        return Mode()

    def before(self, progress, step):
        self.network.mode = self.mode(progress)

    def after(self, progress):
        pass

    def loss(self, batch, progress):
        return task_loss(self.network(*batch.inputs).logits, batch.labels)

    def finish(self):
        """Take the averaged weights."""
        if self.average:
            self.network.load_state_dict(self.average.weights)


class Reviews(Stage):
    """First pass: pieces of long reviews, each with its review's label, through three layers."""

    name = "reviews"
    averaging = 0.999

    def mode(self, progress):
        return Mode(depth=3, dropout=0.1, word_dropout=0.05)


class Finetune(Stage):
    """The task's own sentences through all layers: the uncompressed model."""

    name = "finetune"
    epochs = 1.5
    rate = 3e-4
    averaging = 0.999
    smoothing = 0.05

    def mode(self, progress):
        return Mode(dropout=0.15, word_dropout=0.1)

    def loss(self, batch, progress):
        return task_loss(self.network(*batch.inputs).logits, batch.labels, self.smoothing)


class Student(Stage):
    """A stage that learns from the uncompressed model: `targets` has its logits and saliency."""

    averaging = 0.998
    from_teacher = 0.8  # share of the distillation term
    predictor = 0.3  # gamma: weight of the predictors' KL

    def task(self, output, batch):
        hard = task_loss(output.logits, batch.labels)
        soft = distillation(output.logits, self.targets["logits"][batch.index])
        return (1 - self.from_teacher) * hard + self.from_teacher * soft

    def predictors(self, output, batch):
        target = torch.zeros(batch.inputs[2].shape)
        for row, index in enumerate(batch.index.tolist()):
            values = self.targets["saliency"][index].float()
            target[row, : len(values)] = values
        return predictor_loss(output, target)

    def loss(self, batch, progress):
        output = self.network(*batch.inputs)
        return self.task(output, batch) + self.predictor * self.predictors(output, batch)


class Reduce(Student):
    """Learn which tokens to drop (soft removal, ever sharper) and how far each head looks.

    eta has an optimiser of its own: its gradient is that of the task plus phi times the length.
    """

    name = "reduce"
    epochs = 0.6
    rate = 3e-4
    phi = 0.3  # price of keeping all tokens in all layers
    span_price = 0.0015  # price of a token of reach, mean over heads
    sharpness = (10.0, 1000.0)
    longest = 24.0  # reach at the start: most sentences are shorter
    freeze = 0.6  # share of the stage after which spans stay and near-dead heads die

    def make_optimisers(self):
        network = self.network
        with torch.no_grad():
            network.attention.reach.clamp_(max=self.longest)
        return [
            *super().make_optimisers(),
            torch.optim.Adam([network.eta], lr=1e-3),
            torch.optim.Adam([network.attention.reach], lr=5e-2),
        ]

    def mode(self, progress):
        low, high = self.sharpness
        return Mode(
            sharpness=low * (high / low) ** progress, spans=True, dropout=0.1, word_dropout=0.05
        )

    def loss(self, batch, progress):
        output = self.network(*batch.inputs)
        reach = (self.network.attention.reach + RAMP).mean()
        price = 0 if progress > self.freeze else self.span_price * reach
        return (
            self.task(output, batch)
            + self.predictor * self.predictors(output, batch)
            + self.phi * length_loss(output, batch.inputs[2])
            + price
        )

    def after(self, progress):
        with torch.no_grad():
            self.network.eta.clamp_(0.01, 1.0)
            reach = self.network.attention.reach
            reach.clamp_(-RAMP, self.network.config.positions)
            if progress > self.freeze:
                self.settle(reach)

    def settle(self, reach):
        """Heads that nearly died are dead: the shortest in any case, but never the longest."""
        order = reach.argsort(stable=True)
        dead = reach < DEAD
        dead[order[0]], dead[order[-1]] = True, False
        reach.copy_(torch.where(dead, -RAMP, reach.round()))

    def finish(self):
        super().finish()
        with torch.no_grad():
            self.settle(self.network.attention.reach)


class Prune(Student):
    """Zero more and more of the smallest weights; tokens are dropped by the hard rule."""

    name = "prune"
    epochs = 0.7
    rate = 4e-4
    zeros = 0.61
    every = 50  # steps between new masks
    settled = 0.6  # share of the stage after which the masks stay

    def __init__(self, network, targets=None, importance=None):
        super().__init__(network, targets)
        self.importance = importance

    def mode(self, progress):
        return Mode(sharpness=HARD, spans=True, dropout=0.05, word_dropout=0.05)

    def before(self, progress, step):
        super().before(progress, step)
        if step == 0 or (step % self.every == 0 and progress < self.settled + 0.05):
            update_masks(
                self.network, cubic(progress, self.zeros, end=self.settled), self.importance
            )

    def finish(self):
        """A stage too short for its schedule gets its zeros at the end."""
        super().finish()
        if any(1 - mask.mean() < self.zeros for mask in self.network.masks.values()):
            update_masks(self.network, self.zeros, self.importance)


class Quantise(Student):
    """Weights and activations as AdaptivFloat<8,3>; masks stay."""

    name = "quantise"
    epochs = 0.4
    rate = 1.5e-4

    def __init__(self, network, targets=None, biases=None):
        super().__init__(network, targets)
        self.biases = biases

    def mode(self, progress):
        return Mode(sharpness=HARD, spans=True, biases=self.biases, dropout=0.05, word_dropout=0.05)
