# SPDX-License-Identifier: Apache-2.0
"""Trained network to checkpoint and back."""

import random

import torch

from compress.methods.adaptivfloat import AdaptivFloat
from compress.network import HARD, RAMP, TABLES, Mode, Network, span_table
from golden_model.adaptivfloat import bias_for
from golden_model.checkpoint import tensor_shapes

__all__ = ["network_of", "tensors_of", "write_samples"]

SAMPLES = 64


def tensors_of(network):
    """The checkpoint's tensors of a network, weights as all methods leave them, spans as a table.

    A network on which no tokens are dropped gets eta 0, one without spans full ones.
    """
    mode, tensors = network.settled(), {}
    with torch.no_grad():
        for name in tensor_shapes(network.config):
            if name == "attention.span":
                spans = span_table(network.attention.reach, network.config.positions)
                tensors[name] = spans if mode.spans else torch.ones_like(spans)
            elif name.endswith(".weight") or name in TABLES:
                tensors[name] = _stored(network, name)
            else:
                tensors[name] = network.get_parameter(name).detach().clone()
        if mode.sharpness is None:
            tensors["eta"].zero_()
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def _stored(network, name):
    """A weight as the machine sees it; the query's is multiplied by sqrt(head) again.

    Float16 must not take its largest value below a power of two, or its AdaptivFloat bias changes.
    """
    weight = network.weight(name)
    factor = network.config.head**0.5 if name == "attention.query.weight" else 1.0
    stored = weight * factor
    if "adaptivfloat" not in network.methods:
        return stored.clone()
    fmt = network.methods["adaptivfloat"].settings.format
    back = stored.half().float() / factor
    if bias_for(back.abs().max().item(), fmt) != bias_for(weight.abs().max().item(), fmt):
        stored = torch.where(weight.abs() == weight.abs().max(), stored * (1 + 2.0**-10), stored)
    return stored.clone()


def network_of(checkpoint, dense=False, codes=None):
    """The training network with a checkpoint's weights, which computes what the machine does.

    dense : the uncompressed weights, no token dropped and full spans
    codes : the NumberFormat of weights and activations; None leaves floats
    """
    network = Network(checkpoint.model)
    network.exit_threshold = checkpoint.exit_threshold
    tensors = checkpoint.dense().tensors if dense else checkpoint.tensors
    state = {
        name: value
        for name, value in tensors.items()
        if not name.startswith("dense.") and name != "attention.span"
    }
    state["attention.reach"] = _reach(tensors["attention.span"])
    network.load_state_dict(state)
    if not dense:
        network.base = Mode(sharpness=HARD, spans=True)
    if codes:
        network.attach(AdaptivFloat(AdaptivFloat.Settings(codes), network, checkpoint.ranges))
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
    lines += [
        "\t".join([row.sentence, *([row.pair] if pair else []), str(row.label)]) for row in chosen
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
