# SPDX-License-Identifier: Apache-2.0
"""What a column of the array is for: it travels with a command through the lanes to the store."""

from amaranth.lib import data, enum

from hw.shapes import HEAD, PLACE, SLOT, TILE, tile_mask

__all__ = ["Kind", "column_meta", "is_end"]


# The columns carry it, because those of several operations and items are in the array at once.
class Kind(enum.Enum, shape=2):
    """What a drained column is, and so which way it goes."""

    LINEAR = 0  # requantize, function, buffer
    SCORE = 1  # requantize, to the softmax
    CONTEXT = 2  # normalize, buffer


def column_meta(config):
    """What travels with a command through the array.

    offset : first word of the tile in the target buffer
    turn : of a LINEAR, 0 and 1 alternate
    final : of a LINEAR's last block; of an item's contexts: the next ones have other denominators
    end : of the last tile
    """
    return data.StructLayout(
        {
            "kind": Kind,
            "tile": TILE,
            "live": tile_mask(config),
            "offset": PLACE,
            "slot": SLOT,
            "head": HEAD,
            "turn": 1,
            "final": 1,
            "end": 1,
        }
    )


def is_end(column):
    """Whether the command with this column meta is its LINEAR's last one."""
    # Of another kind both bits may be set as well: contexts use `final` for something else.
    return (column.kind == Kind.LINEAR) & column.final & column.end
