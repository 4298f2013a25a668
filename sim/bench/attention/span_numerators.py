# SPDX-License-Identifier: Apache-2.0
"""What benches of the softmax share: the words of its span mask, the numerators it must make."""

from golden_model import softmax as golden

__all__ = ["numerator_codes", "span_words"]


def span_words(table):
    """A table of spans by head and distance, as words of `span_write`."""
    return [
        {"address": head * len(spans) + distance, "data": span}
        for head, spans in enumerate(table.tolist())
        for distance, span in enumerate(spans)
    ]


def numerator_codes(config, scores, queries, keys, spans, frac):
    """Codes (T, keys) of a query tile's scores (T, keys).

    queries, keys : original positions, tensors
    spans : of the item's head, by distance
    frac : fraction bits of the scores
    """
    masked = golden.mask_numerator(
        golden.numerator(scores, frac), spans[(queries[:, None] - keys).abs()]
    )
    return golden.encode_numerator(masked, config.format)
