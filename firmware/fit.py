# SPDX-License-Identifier: Apache-2.0
"""Whether a network runs on a hardware configuration, and if not, why and what would."""

import dataclasses

import numpy as np

from golden_model.adaptivfloat import decode_integer
from golden_model.hardware import ceil_div

__all__ = ["enlarged", "problems", "units_needed"]

_UNIT_REASON = {
    "span": "a head's span is partial",
    "drop": "eta is above 0, so tokens are dropped",
    "exit": "the exit threshold is above 0",
}


def units_needed(network):
    """{optional unit: whether the network needs it}."""
    return {
        "span": bool((network.span != 256).any()),
        "drop": bool((network.eta > 0).any()),
        "exit": network.exit_threshold > 0,
    }


def problems(network, hardware):
    """Every reason why the network does not run on the hardware, as text; empty when it does."""
    model = network.model
    found = []
    for name, value in _sizes(network).items():
        most = getattr(hardware, name)
        if value > most:
            found.append(f"{'live ' * (name == 'heads')}{name} must be at most {most}, not {value}")
    most = min(hardware.reduction, hardware.code_features)
    if model.predictor > most:
        found.append(
            f"predictor must be at most {most}, the longest reduction and the features of a tile "
            f"that CODES holds, not {model.predictor}; predictor={most} would fit"
        )
    if network.fmt != hardware.format:
        found.append(f"format must be {hardware.format}, not {network.fmt}")
    if model.segments > 2:
        found.append(f"segments must be at most 2, not {model.segments}")
    for unit, needed in units_needed(network).items():
        if needed and unit not in hardware.units:
            found.append(f"unit {unit} must be present: {_UNIT_REASON[unit]}")
    for name, linear in network.linears.items():
        bits, worst = hardware.accumulator_bits, _worst_sum(linear)
        if worst >= 2.0 ** (bits - 1):
            found.append(
                f"sums of {name} must fit the accumulator's {bits} bits, "
                f"not reach 2^{np.log2(worst):.1f}"
            )
    return found


def _sizes(network):
    """{HardwareConfig field: the least that holds the network}."""
    model = network.model
    return {
        "hidden": model.hidden,
        "feed_forward": model.feed_forward,
        "embedding": model.embedding,
        "positions": model.positions,
        "heads": len(network.live_heads),
        "layers": model.layers,
        "classes": model.classes,
    }


def enlarged(network, hardware):
    """The hardware configuration with what the network lacks in it; None where there is none.

    Lanes and bus stay; sizes, buffers, units and number format are those of `hardware` where they
    do.
    """
    sizes = {name: max(size, getattr(hardware, name)) for name, size in _sizes(network).items()}
    rows = max(hardware.rows, hardware.tokens * ceil_div(sizes["positions"], hardware.tokens))
    longest = max(hardware.reduction, network.model.longest_reduction, *_reductions(sizes))
    depth = max(hardware.weight_depth, 1 << (2 * longest - 1).bit_length())
    units = {unit for unit, needed in units_needed(network).items() if needed}
    try:
        config = dataclasses.replace(
            hardware,
            **sizes,
            rows=rows,
            weight_depth=depth,
            units=hardware.units | units,
            format=network.fmt,
        )
    except ValueError:
        return None
    return None if problems(network, config) else config


def _reductions(sizes):
    return [sizes[name] for name in ("hidden", "feed_forward", "embedding", "positions")]


def _worst_sum(linear):
    """Largest |dot product + bias| for any activations."""
    dot = decode_integer(linear.codes, linear.fmt).abs().sum(-1) * linear.fmt.largest
    return float((dot + linear.bias.abs()).max())
