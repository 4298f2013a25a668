# SPDX-License-Identifier: Apache-2.0
"""What a model stores, and how often it multiplies for a sentence: before and after each method."""

from dataclasses import dataclass

from golden_model.checkpoint import tensor_shapes

__all__ = ["ATTENTION", "LATER", "Cost", "costs"]

FLOAT_BITS = 32
OFTEN = ("attention.", "feed_forward.")  # tensors that every token of every layer meets
LATER = ("exit.", "predictor.", "eta")  # what methods add to a plain ALBERT
ATTENTION = "attention"  # of activations with each other: it multiplies and stores nothing


@dataclass
class Cost:
    """Of a tensor.

    Parameters
    ----------
    values : numbers that are stored
    bits : of each of them
    index : bits that tell where they stand, such as those of a bitmask
    uses : multiplications that each takes part in, for one sentence
    """

    values: float
    bits: float = FLOAT_BITS
    index: float = 0.0
    uses: float = 0.0


def costs(network, tokens: int) -> list[dict]:
    """[{method, bytes, multiplications}], the plain ALBERT first, for a sentence of `tokens`.

    All layers run and all tokens stay, unless a method says otherwise.
    """
    found = {
        name: _plain(name, shape, tokens, network.config)
        for name, shape in tensor_shapes(network.config).items()
        if not name.startswith(LATER) and name != "attention.span"
    }
    config = network.config
    found[ATTENTION] = Cost(0.0, uses=2.0 * tokens**2 * config.hidden * config.layers)
    rows = [_sum("dense", found)]
    for method in network.methods.values():
        method.cost(network, found, tokens)
        rows.append(_sum(method.name, found))
    return rows


def _plain(name, shape, tokens, config):
    size = 1
    for side in shape:
        size *= side
    if not name.endswith(".weight"):
        return Cost(size)
    if name.startswith(OFTEN):
        return Cost(size, uses=tokens * config.layers)
    return Cost(size, uses=tokens if name.startswith("embedding.") else 1)


def _sum(method, found):
    stored = sum(cost.values * cost.bits + cost.index for cost in found.values())
    uses = sum((cost.values or 1) * cost.uses for cost in found.values())
    return {"method": method, "bytes": round(stored / 8), "multiplications": round(uses)}
