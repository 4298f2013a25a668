# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint is worth: accuracy before and after compression, in floats and on integers."""

import torch

from compress.calibrate import dvfs_errors, measure, paired_loss
from compress.export import network_of
from compress.prune import EMBEDDING, ENCODER_WEIGHTS, PREDICTOR, sparsity
from golden_model.config import AF8
from golden_model.model import run
from golden_model.quantize import quantize

__all__ = ["checkpoint_metrics", "golden_metrics"]


def golden_metrics(checkpoint, examples, fmt=AF8):
    """(metrics, right) of the integer model on every row.

    metrics : accuracy, live share over executed layers, mean exit, saturations
    right : (N,) whether each row's class is right
    """
    network = quantize(checkpoint, fmt)
    right, live, total, exits, saturations = [], 0, 0, 0, 0
    for (ids, segments), label in zip(examples.sequences, examples.labels.tolist(), strict=True):
        result = run(network, ids, segments)
        right.append(result.predicted_class == label)
        live += sum(result.tokens_per_layer)
        total += len(ids) * result.exit_layer
        exits += result.exit_layer
        saturations += result.saturations
    rows = len(examples)
    metrics = {
        "golden_accuracy": 100 * sum(right) / rows,
        "golden_live_share": live / total,
        "golden_mean_exit_layer": exits / rows,
        "golden_saturations": saturations,
    }
    return metrics, torch.tensor(right)


def checkpoint_metrics(checkpoint, examples, dense=None):
    """Accuracy, live share, exits, sparsity and spans, on the rows given (dev).

    dense : the uncompressed network, None where the checkpoint has its weights
    """
    dense = measure(dense or network_of(checkpoint, dense=True), examples)
    plain = measure(network_of(checkpoint), examples)
    coded = measure(network_of(checkpoint, codes=checkpoint.format), examples)
    exits = coded.exits(checkpoint.exit_threshold)
    spans, tensors = checkpoint["attention.span"], checkpoint.tensors
    dead = (spans == 0).all(1)
    partial = ~dead & (spans == 0).any(1)
    rounded = {
        "rows": len(examples),
        "dense_accuracy": dense.accuracy(),
        "pruned_float_accuracy": plain.accuracy(plain.exits(checkpoint.exit_threshold)),
        "compressed_accuracy": coded.accuracy(exits),
        "compressed_accuracy_all_layers": coded.accuracy(),
        "live_share": coded.live_share(exits),
        "live_share_all_layers": coded.live_share(torch.full_like(exits, len(coded.logits))),
        "mean_exit_layer": exits.float().mean().item(),
        "encoder_sparsity": sparsity(tensors, ENCODER_WEIGHTS),
        "embedding_sparsity": sparsity(tensors, EMBEDDING),
        "predictor_sparsity": sparsity(tensors, PREDICTOR),
        "dead_heads": int(dead.sum()),
        "partial_heads": int(partial.sum()),
    }
    if checkpoint.dvfs_table:
        rounded |= dvfs_errors(coded, checkpoint.exit_threshold, checkpoint.dvfs_table)
    golden, right = golden_metrics(checkpoint, examples, checkpoint.format)
    lost, interval = paired_loss(dense.right(), right)
    rounded |= {**golden, "golden_lost_accuracy": lost, "golden_lost_interval": interval}
    return {name: round(value, 4) for name, value in rounded.items()}
