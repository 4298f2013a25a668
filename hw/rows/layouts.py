# SPDX-License-Identifier: Apache-2.0
"""What the row table and the slot table hold, and the commands that change them."""

from amaranth.lib import data, enum

from hw.shapes import SENTENCE, index, slot_mask

__all__ = ["RowCommand", "row_command_layout", "row_entry_layout", "slot_layout"]


# Codes between two blocks of one chip: no program and no driver sees them, so their order is free.
class RowCommand(enum.Enum, shape=3):
    """What the row table is asked to do."""

    # `slot` now holds queue entry `sentence`, at layer 0, fresh, without rows.
    ADMIT = 0
    # The taken row `physical` at `position` goes to `slot`, the slot that was admitted last.
    APPEND = 1
    # The rows of slots in `release` go, and those without keep bit of slots in `mask`.
    COMPACT = 2
    # `slot` is one layer further.
    ADVANCE = 3
    # No slot is fresh any more.
    SETTLE = 4


def row_command_layout(config):
    """What `Rows.i_command` takes; fields that a command does not name are ignored."""
    return data.StructLayout(
        {
            "command": RowCommand,
            "slot": index(config.slots),
            "position": index(config.positions),
            "physical": index(config.physical_rows),
            "sentence": SENTENCE,
            "mask": slot_mask(config),
            "release": slot_mask(config),
        }
    )


def row_entry_layout(config):
    """One row: its physical row, its slot, the token's original position."""
    return data.StructLayout(
        {
            "physical": index(config.physical_rows),
            "slot": index(config.slots),
            "position": index(config.positions),
        }
    )


def slot_layout(config):
    """One slot. Its rows are the logical rows start .. start + count - 1.

    resident : it holds a sentence; fresh : since the ADMIT of this pass
    sentence : the queue entry that it holds, from 0
    layer : of its next operations, from 0
    """
    # First row and count say which rows are its own, because the rows of a slot are contiguous:
    # so a slot needs no list, and a tile's live lanes are two comparisons.
    return data.StructLayout(
        {
            "resident": 1,
            "fresh": 1,
            "sentence": SENTENCE,
            "layer": index(config.layers + 1),
            "start": index(config.rows),
            "count": index(config.positions + 1),
        }
    )
