# SPDX-License-Identifier: Apache-2.0
"""How far an operation's results are: what the next operation may read while this one ends."""

from amaranth.lib import data

from hw.shapes import TILE, WORDS

__all__ = ["has_written", "progress_layout"]


def progress_layout():
    """The first `words` words of `tile` are written.

    `final`: the last time round, so the tiles before it are written too; `last`: no tile is behind.
    """
    return data.StructLayout({"tile": TILE, "words": WORDS, "final": 1, "last": 1})


def has_written(progress, tile, word):
    """Whether a word of a tile is written: a Value of one bit."""
    # Operations go through their tiles in order, so one place in them says it all.
    return ((progress.tile == tile) & (word < progress.words)) | (
        (tile < progress.tile) & progress.final
    )
