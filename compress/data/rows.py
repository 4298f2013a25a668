# SPDX-License-Identifier: Apache-2.0
"""Rows as a network takes them: encoded, cut into batches of like length, on a device."""

from dataclasses import dataclass

import torch

__all__ = ["Batch", "Examples", "batches", "pad"]


@dataclass
class Batch:
    """tokens, segments and live of some rows, (B,n) each, their labels (B,) and numbers (B,)."""

    inputs: tuple
    labels: torch.Tensor
    index: torch.Tensor


class Examples:
    """Encoded sentences with labels; `rows` are their texts, where there are any.

    device : where batches are made
    """

    def __init__(self, sequences, labels, positions, rows=None, device: str | torch.device = "cpu"):
        self.sequences, self.positions, self.rows = sequences, positions, rows
        self.device = torch.device(device)
        self.labels = torch.as_tensor(labels)
        self.lengths = [min(len(ids), positions) for ids, _ in sequences]

    def __len__(self):
        return len(self.sequences)

    def batch(self, index):
        index = torch.as_tensor(index)
        inputs = pad([self.sequences[i] for i in index.tolist()], self.positions)
        inputs = tuple(one.to(self.device, non_blocking=True) for one in inputs)
        return Batch(inputs, self.labels[index].to(self.device), index)

    def schedule(self, size, seed=None):
        """Lists of row numbers: shuffled by the seed, or all rows by length without one."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return batches(self.lengths, size, generator)


def batches(lengths, size, generator=None, pool=64):
    """Lists of row numbers, `size` or fewer each, of like length.

    With a generator the rows are shuffled first and only `pool` batches are sorted together, so
    that batches differ between epochs; without, all rows are sorted (for evaluation).
    """
    count = len(lengths)
    lengths = torch.as_tensor(lengths)
    if generator is None:
        return list(torch.argsort(lengths, stable=True).split(size))
    order = torch.randperm(count, generator=generator)
    groups = []
    for part in order.split(size * pool):
        groups += part[torch.argsort(lengths[part], stable=True)].split(size)
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]


def pad(sequences, positions):
    """(tokens, segments, live): right-padded tensors of a list of (ids, segments)."""
    length = min(positions, max(len(ids) for ids, _ in sequences))
    tokens = torch.zeros(len(sequences), length, dtype=torch.long)
    segments = torch.zeros_like(tokens)
    live = torch.zeros(len(sequences), length)
    for i, (ids, segment) in enumerate(sequences):
        count = min(len(ids), length)
        tokens[i, :count] = torch.as_tensor(ids[:count])
        segments[i, :count] = torch.as_tensor(segment[:count])
        live[i, :count] = 1
    return tokens, segments, live
