# SPDX-License-Identifier: Apache-2.0
"""One training stage: a resumable loop whose steps depend only on the seed and their number."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from compress.data import batches, pad

__all__ = ["Average", "Batch", "Examples", "Loop", "one_cycle"]

SAVE_EVERY = 60.0  # seconds


@dataclass
class Batch:
    inputs: tuple  # tokens, segments, live
    labels: torch.Tensor
    index: torch.Tensor


class Examples:
    """Encoded sentences with labels, cut into batches."""

    def __init__(self, sequences, labels, positions):
        self.sequences, self.positions = sequences, positions
        self.labels = torch.as_tensor(labels)
        self.lengths = [min(len(ids), positions) for ids, _ in sequences]

    def __len__(self):
        return len(self.sequences)

    def batch(self, index):
        index = torch.as_tensor(index)
        inputs = pad([self.sequences[i] for i in index.tolist()], self.positions)
        return Batch(inputs, self.labels[index], index)

    def schedule(self, size, seed=None):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return batches(self.lengths, size, generator)


class Average:
    """Running mean of the weights, which generalises better than the last step's."""

    def __init__(self, network, decay=0.999):
        self.decay, self.count = decay, 0
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    def update(self, network):
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        for name, p in network.named_parameters():
            self.weights[name].lerp_(p.detach(), 1 - decay)


def one_cycle(progress, warm=0.06):
    """Factor of the learning rate: up linearly, down linearly."""
    return progress / warm if progress < warm else (1 - progress) / (1 - warm)


class Loop:
    """Runs `stage.step` for all batches of all epochs; saves its state every minute and on Ctrl-C.

    Parameters
    ----------
    stage : object with name, epochs, batch, network, optimisers, average, `loss(batch, progress)`,
        `before(progress, step)` (schedules) and `after(progress)` (masks, clamps)
    examples : the rows
    path : file of the state; an existing one is resumed
    seed : of the order of rows and of everything random in a step
    """

    def __init__(self, stage, examples, path, seed=0):
        self.stage = stage
        self.examples = examples
        self.path = Path(path)
        self.seed = seed
        self.step, self.recent, self.limit = 0, None, None
        per_epoch = -(-len(examples) // stage.batch)
        self.per_epoch, self.total = per_epoch, max(1, round(per_epoch * stage.epochs))
        self.rates = [[g["lr"] for g in o.param_groups] for o in stage.optimisers]

    def state(self):
        s = self.stage
        return {
            "step": self.step,
            "recent": self.recent,
            "masks": s.network.masks,
            "network": s.network.state_dict(),
            "optimisers": [o.state_dict() for o in s.optimisers],
            "average": s.average and (s.average.count, s.average.weights),
        }

    def save(self):
        partial = self.path.with_suffix(".partial")
        torch.save(self.state(), partial)
        os.replace(partial, self.path)

    def resume(self):
        if not self.path.exists():
            return
        state = torch.load(self.path)
        s = self.stage
        self.step = state["step"]
        self.recent = state["recent"]
        s.network.masks = state["masks"]
        s.network.load_state_dict(state["network"])
        for optimiser, saved in zip(s.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        if s.average:
            s.average.count, s.average.weights = state["average"]

    def run(self, stop_after=None):
        """Train to the end (or for `stop_after` steps); returns whether the stage is finished."""
        self.resume()
        saved, first = time.monotonic(), self.step
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        try:
            with Progress(*columns, refresh_per_second=1) as progress:
                bar = progress.add_task(self.stage.name, total=self.total, completed=first, loss="")
                while self.step < self.total:
                    if stop_after is not None and self.step - first >= stop_after:
                        break
                    self._one()
                    progress.update(bar, completed=self.step, loss=f"loss {self.recent:.4f}")
                    if time.monotonic() - saved > SAVE_EVERY:
                        self.save()
                        saved = time.monotonic()
        finally:
            self.save()
        return self.step >= self.total

    def _one(self):
        """One step: batch, learning rates, loss, clipped gradients, averaged weights."""
        epoch, place = divmod(self.step, self.per_epoch)
        if place == 0 or not hasattr(self, "order"):
            self.order = self.examples.schedule(self.stage.batch, self.seed + 1000 * epoch)
        torch.manual_seed(self.seed + self.step)
        stage, progress = self.stage, self.step / self.total
        for optimiser, rates in zip(stage.optimisers, self.rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * one_cycle(progress)
        stage.before(progress, self.step)
        stage.network.train()
        loss = stage.loss(self.examples.batch(self.order[place]), progress)
        for optimiser in stage.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.network.parameters(), 1.0)
        for optimiser in stage.optimisers:
            optimiser.step()
        stage.after(progress)
        if stage.average:
            stage.average.update(stage.network)
        value = loss.item()
        self.recent = value if self.recent is None else 0.99 * self.recent + 0.01 * value
        self.step += 1
