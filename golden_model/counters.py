# SPDX-License-Identifier: Apache-2.0
"""What the machine counts of a network's multiplications: those done, and those skipped by cause.

A dense layer multiplies `row` times for each token (six weight tensors) and `pair` times for each
pair of tokens (scores and context). Of a sentence of n tokens a plain ALBERT does
layers x (row n + pair n^2). Each of these is useful or skipped, for the first of these causes that
holds: its layer did not run; its token was dropped (before attention, so a pair counts when either
was); its head is dead; its weight is zero. Embedding projection, predictor and off-ramp lie outside
the layers and are not counted here.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from golden_model.network import Network

__all__ = ["ENCODER", "MACS", "Work", "count_macs", "layer_work"]

ENCODER = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "feed_forward.up",
    "feed_forward.down",
)
MACS = (
    "USEFUL_MACS",
    "SKIPPED_ZEROS",
    "SKIPPED_HEADS",
    "SKIPPED_TOKENS",
    "SKIPPED_EXITS",
)  # every multiplication is in one of them


class Work(NamedTuple):
    """Multiplications of a layer: `row` for each token, `pair` for each pair of tokens."""

    row: int
    pair: int

    def of(self, tokens: int) -> int:
        """Multiplications for that many tokens."""
        return self.row * tokens + self.pair * tokens**2


def layer_work(network: Network) -> dict[str, Work]:
    """{"useful", "zeros", "heads", "dense": Work} of one layer.

    What it does for live tokens, what it skips of that for zeros and for dead heads, and the sum of
    the three.
    """
    model = network.model
    weights = [network.linears[name].codes for name in ENCODER]  # of live heads only
    useful, stored = (
        sum(map(count, weights))
        for count in (lambda codes: int(torch.count_nonzero(codes)), torch.numel)
    )
    dense = Work(4 * model.hidden**2 + 2 * model.hidden * model.feed_forward, 2 * model.hidden)
    pair = 2 * model.head * len(network.live_heads)
    return {
        "useful": Work(useful, pair),
        "zeros": Work(stored - useful, 0),
        "heads": Work(dense.row - stored, dense.pair - pair),
        "dense": dense,
    }


def count_macs(
    work: dict[str, Work], layers: int, sentences: Iterable[tuple[int, Sequence[int]]]
) -> dict[str, int]:
    """{counter: value} of TOKENS and `MACS`.

    work : of `layer_work`; layers : of the model
    sentences : (tokens entering, live tokens of each layer until the exit) of each
    """
    counts: dict[str, int] = dict.fromkeys(("TOKENS", *MACS), 0)
    for length, live in sentences:
        full = work["dense"].of(length)
        counts["TOKENS"] += sum(live)
        for name, part in zip(MACS, ("useful", "zeros", "heads"), strict=False):
            counts[name] += sum(map(work[part].of, live))
        counts["SKIPPED_TOKENS"] += sum(full - work["dense"].of(tokens) for tokens in live)
        counts["SKIPPED_EXITS"] += (layers - len(live)) * full
    return counts
