# SPDX-License-Identifier: Apache-2.0
"""One training stage: a resumable loop whose steps depend only on the seed and their number."""

import json
import os
import time
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Average", "Loop", "one_cycle"]

SAVE_EVERY = 60.0  # seconds
LOG_EVERY = 50  # steps


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
    stage : object with name, epochs, batch, network, optimiser, average, `loss(batch, progress)`,
        `before(progress, step)` (schedules) and `after(progress)` (masks, clamps)
    examples : the rows
    path : file of the state; an existing one is resumed
    seed : of the order of rows and of everything random in a step
    log : file that gets a line of JSON every LOG_EVERY steps: step, loss and its terms
    """

    def __init__(self, stage, examples, path, seed=0, log=None):
        self.stage = stage
        self.log = log
        self.examples = examples
        self.path = Path(path)
        self.seed = seed
        self.step, self.recent, self.lines = 0, None, []
        per_epoch = -(-len(examples) // stage.batch)
        self.per_epoch, self.total = per_epoch, max(1, round(per_epoch * stage.epochs))
        self.rates = [group["lr"] for group in stage.optimiser.param_groups]

    def state(self):
        s = self.stage
        return {
            "step": self.step,
            "recent": self.recent,
            "lines": self.lines,
            "network": s.network.state_dict(),
            "optimiser": s.optimiser.state_dict(),
            "average": s.average and (s.average.count, s.average.weights),
        }

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(self.state(), partial)
        os.replace(partial, self.path)

    def resume(self):
        if not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True)
        s = self.stage
        self.step = state["step"]
        self.recent = state["recent"]
        self.lines = state["lines"]
        s.network.load_state_dict(state["network"])
        s.optimiser.load_state_dict(state["optimiser"])
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
        if self.log and self.step >= self.total:
            Path(self.log).write_text("".join(f"{json.dumps(line)}\n" for line in self.lines))
        return self.step >= self.total

    def _one(self):
        """One step: batch, learning rates, loss, clipped gradients, averaged weights."""
        epoch, place = divmod(self.step, self.per_epoch)
        if place == 0 or not hasattr(self, "order"):
            self.order = self.examples.schedule(self.stage.batch, self.seed + 1000 * epoch)
        torch.manual_seed(self.seed + self.step)
        stage, progress = self.stage, self.step / self.total
        for group, rate in zip(stage.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * one_cycle(progress)
        stage.before(progress, self.step)
        stage.network.train()
        loss = stage.loss(self.examples.batch(self.order[place]), progress)
        stage.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.network.parameters(), 1.0)
        stage.optimiser.step()
        stage.after(progress)
        if stage.average:
            stage.average.update(stage.network)
        value = loss.item()
        self.recent = value if self.recent is None else 0.99 * self.recent + 0.01 * value
        self.step += 1
        if self.step % LOG_EVERY == 0 or self.step == self.total:
            terms = {name: round(float(term.detach()), 5) for name, term in stage.terms.items()}
            self.lines.append({"step": self.step, "loss": round(self.recent, 5), **terms})
