# SPDX-License-Identifier: Apache-2.0
"""What is chosen after training, on rows held out of the training part: ranges and thresholds."""

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from compress.network import HARD
from golden_model.adaptivfloat import bias_for
from golden_model.config import AF8
from golden_model.dvfs import BINS, entropy_bin_float
from golden_model.entropy import entropy_float
from golden_model.softmax import numerator_bias

__all__ = [
    "CODES",
    "Measured",
    "activation_biases",
    "choose_point",
    "choose_threshold",
    "dvfs_errors",
    "learn_dvfs_table",
    "measure",
    "observe_ranges",
    "paired_loss",
    "settle_eta",
]

CODES = (
    "embed",
    "x",
    "predict_hidden",
    "q",
    "k",
    "v",
    "context",
    "attention_norm",
    "hidden",
    "pooled",
)


@dataclass
class Measured:
    """Rows of a data set through all layers: logits (L,N,C), live share (L,N), lengths, labels."""

    logits: torch.Tensor
    live: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor

    @property
    def entropies(self):
        return entropy_float(self.logits)

    def exits(self, threshold):
        """(N,) layer, from 1, at which each row leaves: the first with entropy < threshold."""
        sure = self.entropies < threshold
        sure[-1] = True
        return sure.int().argmax(0) + 1

    def right(self, exits=None):
        """(N,) whether each row's class is right, at the last layer or at the given exits."""
        if exits is None:
            exits = torch.full_like(self.labels, len(self.logits))
        chosen = self.logits[exits - 1, torch.arange(len(exits))]
        return chosen.argmax(-1) == self.labels

    def accuracy(self, exits=None):
        """Percent right, at the last layer or at the given exits."""
        return self.right(exits).float().mean().item() * 100

    def cross_entropy(self, exits):
        chosen = self.logits[exits - 1, torch.arange(len(exits))]
        return F.cross_entropy(chosen, self.labels).item()

    def live_share(self, exits):
        """Live token-layers over all token-layers of the executed layers."""
        executed = torch.arange(len(self.live))[:, None] < exits[None, :]
        return (
            (self.live * self.lengths * executed).sum() / (self.lengths * executed).sum()
        ).item()


@torch.no_grad()
def measure(network, examples):
    """Run all rows as the settled network does; every padded batch is one of like lengths."""
    network.eval()
    network.mode = network.settled()
    order, logits, live = [], [], []
    for index in examples.schedule(64):
        batch = examples.batch(index)
        out = network(*batch.inputs)
        order.append(index)
        logits.append(torch.stack(out.logits))
        live.append(torch.stack([one.sum(1) for one in out.live]) / batch.inputs[2].sum(1))
    back = torch.cat(order).argsort()
    logits, live = (torch.cat(parts, 1).cpu()[:, back] for parts in (logits, live))
    return Measured(logits, live, torch.tensor(examples.lengths).float(), examples.labels)


def paired_loss(before, after):
    """(points of accuracy lost, half of the 95 % interval) of two models on the same rows.

    before, after : (N,) whether each row is right. Only rows where the two differ count (McNemar,
    Psychometrika 12, 1947): with b lost and c won of N, the loss is (b - c) / N and its variance
    (b + c - (b - c)^2 / N) / N^2.
    """
    lost, won, rows = int((before & ~after).sum()), int((after & ~before).sum()), len(before)
    spread = (lost + won - (lost - won) ** 2 / rows) ** 0.5
    return 100 * (lost - won) / rows, 100 * 1.96 * spread / rows


@torch.no_grad()
def observe_ranges(network, examples, rows=8000):
    """max |x| of every ACT tensor over sentences, all layers together: a checkpoint's `ranges`.

    Predictors run also where no token can go (eta 0), because the machine's ranges name them.
    """
    network.eval()
    network.mode, eta = network.settled(), network.eta.clone()
    if network.mode.sharpness is None:
        network.mode = dataclasses.replace(network.mode, sharpness=HARD)
        network.eta.zero_()
    network.observed = {}
    for index in examples.schedule(64)[:: max(1, len(examples) // rows)]:
        network(*examples.batch(index).inputs)
    ranges, network.observed = network.observed, None
    network.eta.copy_(eta)
    return ranges


def activation_biases(ranges, fmt=AF8):
    """Bias by the name of each activation that is encoded."""
    biases = {name: bias_for(ranges[name], fmt) for name in CODES}
    return {**biases, "numerator": numerator_bias(fmt)}


def choose_threshold(measured, live, share):
    """(cross-entropy, exit threshold): the least of the thresholds that keep within the budgets.

    `live` is the most of the executed token-layers that may be alive, `share` the most of all
    layers that may be executed. None where no threshold does.
    """
    best = None
    highest = math.log(measured.logits.shape[-1])  # the entropy of who knows nothing
    for threshold in (hundredth / 100 for hundredth in range(1, int(100 * highest) + 1)):
        exits = measured.exits(threshold)
        if measured.live_share(exits) <= live and exits.float().mean() <= share * len(
            measured.logits
        ):
            found = (measured.cross_entropy(exits), threshold)
            best = min(best or found, found)
    return best


def choose_point(network, examples, live=0.58, share=0.62):
    """Scale eta and choose the exit threshold together, on held-out rows; returns the threshold.

    The least cross-entropy within both budgets wins. With none in them: the smallest eta factor
    that keeps the live share over all layers, and no early exit.
    """
    eta, points = network.eta.detach().clone(), []
    for factor in torch.arange(0.8, 1.7, 0.025).tolist():
        network.eta.data = (eta * factor).clamp(max=1.0)
        found = choose_threshold(measure(network, examples), live, share)
        points += [(*found, factor)] if found else []
    if not points:
        network.eta.data = eta
        settle_eta(network, examples, live)
        return 0.0
    _, threshold, factor = min(points)
    network.eta.data = (eta * factor).clamp(max=1.0)
    return threshold


def settle_eta(network, examples, live):
    """Scale eta so that at most a share of `live` tokens stay, mean over the layers.

    Training finds how the layers compare, this how much is dropped; the smallest of the factors.
    """
    eta = network.eta.detach().clone()
    for factor in torch.arange(0.8, 4.0, 0.1).tolist():
        network.eta.data = (eta * factor).clamp(max=1.0)
        if measure(network, examples).live.mean() <= live:
            break
    return network


def learn_dvfs_table(measured, threshold, quantile=0.75):
    """Predicted exit layer by the bin of the entropy after layer 1, never falling with it.

    quantile : of each bin's exit layers: 0.5 errs least, more is rarely too low; None takes their
        mean, rounded, which tells bins apart where most sentences leave at the first or last layer

    Neighbours that would fall are pooled (isotonic regression: Robertson and Wright, Annals of
    Statistics 8, 1980); an empty bin belongs to the one before.
    """
    exits = measured.exits(threshold).float()
    bins = _entropy_bins(measured)
    pools = []  # the exit layers of neighbouring bins, and how many bins they are
    for index in range(BINS):
        pools.append((exits[bins == index], 1))
        while len(pools) > 1 and _expected(pools[-2][0], quantile) > _expected(
            pools[-1][0], quantile
        ):
            (before, some), (after, more) = pools[-2:]
            pools[-2:] = [(torch.cat([before, after]), some + more)]
    return [_expected(pool, quantile) for pool, count in pools for _ in range(count)]


def _expected(exits, quantile):
    """The layer at which sentences with these exits are said to leave, 1 for none."""
    if not len(exits):
        return 1
    return int(exits.mean().round() if quantile is None else torch.quantile(exits, quantile).ceil())


def _entropy_bins(measured):
    return torch.tensor([entropy_bin_float(entropy) for entropy in measured.entropies[0].tolist()])


def dvfs_errors(measured, threshold, table):
    """Mean absolute error in layers, of a table's predictions and of always the mean."""
    exits = measured.exits(threshold).float()
    predicted = torch.tensor(table)[_entropy_bins(measured)]
    return {
        "dvfs_error": (predicted - exits).abs().mean().item(),
        "dvfs_error_of_mean": (exits.mean() - exits).abs().mean().item(),
    }
