# SPDX-License-Identifier: Apache-2.0
"""Rows as a network takes them: encoded, cut into batches of like length, on a device."""

from dataclasses import dataclass

import torch

from compress.data import batches, pad

__all__ = ["Batch", "Examples"]


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

    def __init__(self, sequences, labels, positions, rows=None, device="cpu"):
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
