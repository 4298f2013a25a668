# SPDX-License-Identifier: Apache-2.0
"""First word vectors: positive mutual information of pieces that occur near each other.

A small model cannot learn from 70 000 phrases which words mean alike; co-occurrence tells it.
"""

import torch

__all__ = ["VECTORS_SCALE", "word_vectors"]

WINDOW = 4
SMOOTHING = 0.75  # exponent of the context counts, which keeps rare contexts from dominating
VECTORS_SCALE = 0.05  # root mean square of the vectors


def word_vectors(sequences, vocabulary, size, seed=0, window=WINDOW):
    """(vocabulary, size) vectors from lists of token ids; rows never seen are zero."""
    counts = _near(torch.tensor([i for ids in sequences for i in (*ids, 0)]), vocabulary, window)
    rows = counts.sum(1)
    contexts = rows**SMOOTHING
    share = contexts / contexts.sum()
    information = counts.div_(rows.clamp(min=1)[:, None]).div_(share.clamp(min=1e-12)[None, :])
    information = information.clamp_(min=1).log_()
    torch.manual_seed(seed)
    u, s, _ = torch.svd_lowrank(information, q=size + 16, niter=3)
    vectors = u[:, :size] * s[:size].sqrt()
    return vectors * (VECTORS_SCALE / vectors.square().mean().sqrt().clamp(min=1e-9))


def _near(stream, vocabulary, window):
    """How often two ids stand at most `window` apart, nearer ones counting more; id 0 separates."""
    counts = torch.zeros(vocabulary * vocabulary)
    for distance in range(1, window + 1):
        left, right = stream[:-distance], stream[distance:]
        for part in range(0, len(left), 1 << 22):
            index = left[part : part + (1 << 22)] * vocabulary + right[part : part + (1 << 22)]
            counts.index_add_(0, index, torch.full((len(index),), 1 / distance))
    counts = counts.view(vocabulary, vocabulary)
    counts = counts + counts.T
    counts[0], counts[:, 0] = 0, 0
    return counts
