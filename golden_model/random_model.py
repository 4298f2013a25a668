# SPDX-License-Identifier: Apache-2.0
"""Random checkpoints, calibrated: for tests and campaigns that need a network of any shape.

Nothing is learned, but all features are used: pruned weights, dead heads, ramps of attention span,
tokens that are dropped, sentences that leave early.
"""

import math

import torch

from golden_model import dvfs
from golden_model.calibrate import calibrate
from golden_model.checkpoint import Checkpoint, tensor_shapes
from golden_model.config import ModelConfig

__all__ = ["random_checkpoint", "random_sentences"]


def random_sentences(
    model: ModelConfig, count: int, seed: int = 0, low: int = 1, high: int | None = None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """`count` pairs (tokens, segments) of `low`..`high` tokens (default: the longest sentence)."""
    generator = torch.Generator().manual_seed(seed)
    high = model.positions if high is None else high
    sentences = []
    for length in torch.randint(low, high + 1, (count,), generator=generator).tolist():
        tokens = torch.randint(0, model.vocabulary, (length,), generator=generator)
        second = torch.randint(0, length + 1, (1,), generator=generator)
        segments = (torch.arange(length) >= second).long().clamp(max=model.segments - 1)
        sentences.append((tokens, segments))
    return sentences


def random_checkpoint(
    model: ModelConfig,
    seed: int = 0,
    density: float = 0.5,
    dead_heads: int = 0,
    spans: bool = True,
    eta: float = 0.7,
    exit_threshold: float = 0.5,
    calibration: int = 8,
) -> Checkpoint:
    """A seeded Checkpoint of `model`, weights `density` non-zero, `dead_heads` heads without span.

    spans: live heads get ramps of different lengths, else ones. eta grows to its value over the
    layers; exit_threshold is in nats. Ranges come from `calibration` random sentences.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: _random(name, shape, density, generator)
        for name, shape in tensor_shapes(model).items()
    }
    tensors["attention.span"] = _spans(model, dead_heads, spans)
    tensors["eta"] = eta * torch.linspace(0.5, 1, model.layers)
    table = [min(model.layers, 1 + entropy_bin // 4) for entropy_bin in range(dvfs.BINS)]
    checkpoint = Checkpoint(model, tensors, exit_threshold=exit_threshold, dvfs_table=table)
    sentences = random_sentences(model, calibration, seed, (model.positions + 1) // 2)
    checkpoint.ranges = calibrate(checkpoint, sentences, drop=False)
    return checkpoint


def _normal(shape, generator):
    """Nearly normal, spread 1: sums of integers, the same on every machine."""
    return torch.randint(-1000, 1001, (4, *shape), generator=generator).sum(0) / 1155


def _random(name, shape, density, generator):
    x = _normal(shape, generator)
    if name.endswith("gamma"):
        return 1 + 0.2 * x
    if name.endswith(("bias", "beta")):
        return 0.1 * x
    if name.startswith("predictor.score"):
        return 0.5 * x
    if name.startswith("embedding") and not name.endswith("weight"):
        x = 0.05 * x
    else:
        x = x * (1.2 / math.sqrt(shape[-1] * density))
    return x * (torch.randint(0, 1000, shape, generator=generator) < 1000 * density)


def _spans(model, dead_heads, ramps):
    """Ramps that end at different distances; the last heads are dead."""
    if not 0 <= dead_heads < model.heads:
        raise ValueError(f"Dead heads must be in 0..{model.heads - 1}, not {dead_heads}")
    live = model.heads - dead_heads
    distance = torch.arange(model.positions)[None, :]
    reach = (torch.arange(1, model.heads + 1)[:, None] / live) * model.positions
    span = ((reach + 2 - distance) / 4).clamp(0, 1)
    if not ramps:
        span = torch.ones_like(span)
    span[live:] = 0
    return span
