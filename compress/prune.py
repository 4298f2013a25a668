# SPDX-License-Identifier: Apache-2.0
"""Which weights become zero: the smallest of each matrix, more and more of them."""

import torch

__all__ = [
    "EMBEDDING",
    "ENCODER_WEIGHTS",
    "PREDICTOR",
    "PRUNED",
    "cubic",
    "magnitude_mask",
    "sparsity",
]

ENCODER_WEIGHTS = (
    "attention.query.weight",
    "attention.key.weight",
    "attention.value.weight",
    "attention.output.weight",
    "feed_forward.up.weight",
    "feed_forward.down.weight",
    "pooler.weight",
    "exit.pooler.weight",
)
EMBEDDING = ("embedding.word", "embedding.project.weight")
HEADS = {
    "attention.query.weight": 0,
    "attention.key.weight": 0,
    "attention.value.weight": 0,
    "attention.output.weight": 1,
}  # axis along which the heads lie
PREDICTOR = ("predictor.hidden.weight",)
PRUNED = ENCODER_WEIGHTS + EMBEDDING + PREDICTOR


def cubic(progress, final, start=0.1, end=0.7):
    """Share of zeros at `progress` of a stage, cubic: 0 until `start`, `final` from `end` on."""
    done = min(max((progress - start) / (end - start), 0.0), 1.0)
    return final * (1 - (1 - done) ** 3)


def magnitude_mask(weight, zeros, importance=None):
    """1 for weights that stay: all but the smallest `zeros` (a share, rounded up) of the matrix.

    `importance` multiplies the magnitudes (a word's frequency, so that rare words go first).
    """
    size = weight.detach().abs()
    size = (size if importance is None else size * importance).flatten()
    count = min(len(size), -int(-len(size) * zeros // 1))
    mask = torch.ones_like(size)
    mask[torch.topk(size, count, largest=False).indices] = 0
    return mask.view(weight.shape)


def sparsity(tensors, names):
    """Share of zeros over several tensors of a dict together."""
    return sum((tensors[name] == 0).sum().item() for name in names) / sum(
        tensors[name].numel() for name in names
    )
