# SPDX-License-Identifier: Apache-2.0
"""Ranges: max |x| of every ACT tensor over sentences and layers, from the float reference."""

from collections.abc import Iterable

from golden_model.checkpoint import Checkpoint
from golden_model.model import Ids
from golden_model.reference import Reference

__all__ = ["calibrate"]

_NOT_RANGES = {"keep", "rows", "predict_exp", "numerator", "denominator", "entropy"}


def calibrate(
    checkpoint: Checkpoint,
    sentences: Iterable[tuple[Ids, Ids]],
    drop: bool = True,
) -> dict[str, float]:
    """{tensor: max |x|} over (tokens, segments) pairs; early exit is off, so that all layers count.

    drop : whether tokens are dropped. The ranges also have attention_sum and ffn_sum, the residual
    sums.
    """
    reference = Reference(checkpoint, drop=drop, exit=False)
    ranges = {}
    for tokens, segments in sentences:
        for name, tensor in reference.run(tokens, segments).tensors.items():
            plain = name.rpartition(".")[2]
            plain = "x" if plain == "feed_forward_norm" else plain
            if plain not in _NOT_RANGES:
                ranges[plain] = max(ranges.get(plain, 0.0), float(tensor.abs().max()))
    return ranges
