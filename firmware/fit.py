# SPDX-License-Identifier: Apache-2.0
"""Whether a network runs on a hardware configuration, and if not, why and what would."""

import numpy as np

from golden_model.adaptivfloat import decode_integer

__all__ = ["problems", "units_needed"]

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
    for name, value in (
        ("hidden", model.hidden),
        ("feed_forward", model.feed_forward),
        ("embedding", model.embedding),
        ("positions", model.positions),
        ("heads", len(network.live_heads)),
        ("layers", model.layers),
        ("classes", model.classes),
    ):
        most = getattr(hardware, name)
        if value > most:
            found.append(
                f"{'live ' * (name == 'heads')}{name} must be at most {most}, not {value}; "
                f"{name}={value} would fit"
            )
    most = min(hardware.reduction, hardware.code_features)
    if model.predictor > most:
        found.append(
            f"predictor must be at most {most}, the longest reduction and the features of a tile "
            f"that CODES holds, not {model.predictor}; predictor={most} would fit"
        )
    if network.fmt != hardware.format:
        found.append(
            f"format must be {hardware.format}, not {network.fmt}; format={network.fmt!r} would fit"
        )
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


def _worst_sum(linear):
    """Largest |dot product + bias| for any activations."""
    dot = decode_integer(linear.codes, linear.fmt).abs().sum(-1) * linear.fmt.largest
    return float((dot + linear.bias.abs()).max())
