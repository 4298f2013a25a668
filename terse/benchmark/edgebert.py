# SPDX-License-Identifier: Apache-2.0
"""Cycles of EdgeBERT's released SystemC for the operations that it has, from its sources.

Per encoder layer, array of n x n multipliers, S tokens, hidden H, FF, heads:

    products  2 n per n x n x n tile: n to load the operands, n to compute, not overlapped, over
              ceil(a/n) ceil(b/n) ceil(c/n) tiles of each (a x b) x (b x c) product:
              Q, K, V, output (S H H each), scores and context (S head S for each head),
              up and down (S H FF each)
    vectors   27 per vector of n (9 states at an initiation interval of 3):
              softmax heads S ceil(S/n), two LayerNorms 2 S ceil(H/n)
    host      `trip` cycles for each n x n tile of results, 0 by default

Zero weights save no cycles, padding takes none. There is no predictor, embedding, GELU or pooler in
it: those count nothing, in its favor.
"""

from golden_model.hardware import ceil_div

__all__ = ["FORMULA", "VECTOR_CYCLES", "layer_cycles", "operation_cycles", "text"]

VECTOR_CYCLES = 27
FORMULA = (
    "2 n tiles(n x n x n) of Q K V scores context output up down "
    "+ 27 (heads S ceil(S/n) + 2 S ceil(H/n)) + trip x result tiles"
)


def product(a, b, c, n, trip=0):
    """Cycles of one (a x b) x (b x c) product."""
    results = ceil_div(a, n) * ceil_div(c, n)
    return 2 * n * results * ceil_div(b, n) + trip * results


def operation_cycles(model, tokens, n=16, trip=0):
    """Cycles of one layer by our operations' names; softmax is part of `context`."""
    h = model.hidden
    ff = model.feed_forward
    head = model.head
    square = product(tokens, h, h, n, trip)
    attention = model.heads * (
        product(tokens, head, tokens, n, trip) + product(tokens, tokens, head, n, trip)
    )
    norm = VECTOR_CYCLES * tokens * ceil_div(h, n)
    return {
        "q": square,
        "k": square,
        "v": square,
        "context": attention + VECTOR_CYCLES * model.heads * tokens * ceil_div(tokens, n),
        "attention": square,
        "attention_norm": norm,
        "hidden": product(tokens, h, ff, n, trip),
        "ffn": product(tokens, ff, h, n, trip),
        "feed_forward_norm": norm,
    }


def layer_cycles(model, tokens, n=16, trip=0):
    """Cycles of one encoder layer."""
    return sum(operation_cycles(model, tokens, n, trip).values())


def text(model, tokens, n=16, trip=0):
    """The formula with its figures for one layer."""
    h = model.hidden
    vectors = VECTOR_CYCLES * tokens * (model.heads * ceil_div(tokens, n) + 2 * ceil_div(h, n))
    products = layer_cycles(model, tokens, n) - vectors
    trips = layer_cycles(model, tokens, n, trip) - vectors - products
    host = f" + {trips / 1e6:.3f} M (host, {trip} a tile)" if trip else ""
    return (
        f"EdgeBERT, n = {n}, S = {tokens}: cycles of a layer = {FORMULA}\n"
        f"  = 2 x {products / 2e6:.3f} M + {vectors / 1e6:.3f} M{host} "
        f"= {(products + vectors + trips) / 1e6:.2f} M"
    )
