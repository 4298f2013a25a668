# SPDX-License-Identifier: Apache-2.0
"""Trained network to checkpoint and back, with what is chosen and measured on the way."""

import random

import torch

from compress.calibrate import (
    activation_biases,
    choose_threshold,
    learn_dvfs_table,
    measure,
    observe_ranges,
)
from compress.network import HARD, RAMP, Mode, Network, span_table
from compress.prune import EMBEDDING, ENCODER, PREDICTOR, sparsity
from golden_model.adaptivfloat import bias_for
from golden_model.checkpoint import Checkpoint, load
from golden_model.config import AF8

__all__ = ["checkpoint_metrics", "final_mode", "network_of", "tensors_of", "write_checkpoint",
           "write_samples"]

SAMPLES = 64
TABLES = ("embedding.word", "embedding.position", "embedding.segment")


def tensors_of(network):
    """The checkpoint's tensors of a network: masked, as AdaptivFloat values, spans as a table."""
    tensors = {}
    with torch.no_grad():
        for name in network.state_dict():
            value = network.get_parameter(name)
            if name == "attention.reach":
                tensors["attention.span"] = span_table(value, network.config.positions)
            elif name.endswith(".weight") or name in TABLES:
                tensors[name] = _stored(network, name)
            else:
                tensors[name] = value.detach().clone()
    return tensors


def _stored(network, name):
    """A weight as the machine sees it; the query's is multiplied by sqrt(head) again.

    Float16 must not take its largest value below a power of two, or its AdaptivFloat bias changes.
    """
    weight = network.weight(name)
    factor = network.config.head ** 0.5 if name == "attention.query.weight" else 1.0
    stored = weight * factor
    if network.mode.biases is None:
        return stored.clone()
    back = stored.half().float() / factor
    if bias_for(back.abs().max().item(), AF8) != bias_for(weight.abs().max().item(), AF8):
        stored = torch.where(weight.abs() == weight.abs().max(), stored * (1 + 2.0 ** -10), stored)
    return stored.clone()


def network_of(checkpoint, dense=False):
    """The training network with a checkpoint's weights; `dense` takes the uncompressed ones."""
    network = Network(checkpoint.model)
    tensors = checkpoint.dense().tensors if dense else checkpoint.tensors
    state = {name: value for name, value in tensors.items()
             if not name.startswith("dense.") and name != "attention.span"}
    state["attention.reach"] = _reach(tensors["attention.span"])
    network.load_state_dict(state)
    return network


def _reach(table):
    """Reach of each head whose whole-token reach gives that row of the span table."""
    positions = table.shape[1]
    candidates = torch.arange(-RAMP, positions + 1)
    rows = span_table(candidates, positions)
    distance = (table[:, None] - rows[None]).abs().amax(-1)
    if (distance.amin(1) > 1 / 256).any():
        raise ValueError(f"Spans must be ramps over {RAMP:g} tokens from a whole-token reach")
    return candidates[distance.argmin(1)]


def final_mode(ranges):
    """All that compression does, as the machine does it."""
    return Mode(sharpness=HARD, spans=True, biases=activation_biases(ranges))


def write_checkpoint(training, network, command):
    """Write OUT: weights, ranges, thresholds and metrics; returns the metrics."""
    tensors = tensors_of(network)
    teacher = training.uncompressed()
    dense = {f"dense.{name}": value for name, value in tensors_of(teacher).items()
             if not name.startswith("predictor.") and name not in ("eta", "attention.span")}
    ranges = observe_ranges(network, training.examples, network.mode.biases)
    checkpoint = Checkpoint(training.config, {**tensors, **dense}, ranges, command=command)
    checkpoint.save(training.out_dir, torch.float16)
    checkpoint = load(training.out_dir)  # as rounded
    held = measure(network_of(checkpoint), training.held, final_mode(ranges))
    checkpoint.exit_threshold = choose_threshold(held)
    checkpoint.dvfs_table = learn_dvfs_table(held, checkpoint.exit_threshold)
    checkpoint.metrics = checkpoint_metrics(checkpoint, training.dev)
    checkpoint.metrics["held_out_rows"] = len(training.held)
    checkpoint.save(training.out_dir, torch.float16)
    write_samples(training.dev_rows, training.out_dir / "samples.tsv", training.recipe.seed)
    return checkpoint.metrics


def checkpoint_metrics(checkpoint, examples):
    """Accuracy, live share, exits, sparsity and spans, on the rows given (dev)."""
    dense = measure(network_of(checkpoint, dense=True), examples, Mode())
    network = network_of(checkpoint)
    plain = measure(network, examples, Mode(sharpness=HARD, spans=True))
    coded = measure(network, examples, final_mode(checkpoint.ranges))
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
        "encoder_sparsity": sparsity(tensors, ENCODER),
        "embedding_sparsity": sparsity(tensors, EMBEDDING),
        "predictor_sparsity": sparsity(tensors, PREDICTOR),
        "dead_heads": int(dead.sum()),
        "partial_heads": int(partial.sum()),
    }
    return {name: round(value, 4) for name, value in rounded.items()}


def write_samples(rows, path, seed):
    """SAMPLES rows, as many of each class as can be and of all lengths, drawn with a seed."""
    by_length = sorted(rows, key=lambda row: (row.label, len(row.sentence), row.sentence))
    draw = random.Random(seed)
    step = len(by_length) / SAMPLES
    chosen = {min(int((i + draw.random()) * step), len(by_length) - 1) for i in range(SAMPLES)}
    chosen = [by_length[i] for i in sorted(chosen)]
    draw.shuffle(chosen)
    pair = rows[0].pair is not None
    lines = ["sentence1\tsentence2\tlabel" if pair else "sentence\tlabel"]
    lines += ["\t".join([row.sentence, *([row.pair] if pair else []), str(row.label)])
              for row in chosen]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
