# SPDX-License-Identifier: Apache-2.0
"""How far an operation's results are: what the next LINEAR may read while it ends."""

from amaranth.lib import data

__all__ = ["has_written", "progress_layout"]


def progress_layout():
    """The first `words` words of `tile` are written, and, the last time round (`final`), the tiles before it; `last`: there is none behind."""
    return data.StructLayout({"tile": 16, "words": 16, "final": 1, "last": 1})


def has_written(progress, tile, word):
    """Whether a word of a tile is there; operations go through their tiles in order."""
    return ((progress.tile == tile) & (word < progress.words)) | (
        (tile < progress.tile) & progress.final
    )
