# SPDX-License-Identifier: Apache-2.0
"""The row table and the slots as the taps tell: which sentence, layer and token a row is about."""

import numpy as np

__all__ = ["Mirror"]


class Mirror:
    """A copy of the machine's row table and slot table.

    Attributes
    ----------
    table : (rows, 2) slot and original position of each live row
    sentence, layer : by slot; -1 while empty
    mixed_tiles : tiles of passes so far that held rows of sentences at different layers
    """

    def __init__(self, slots, lanes):
        self.lanes = lanes
        self.table = np.zeros((0, 2), np.int64)
        self.sentence = np.full(slots, -1)
        self.layer = np.full(slots, -1)
        self.mixed_tiles = 0

    @property
    def slot(self):
        return self.table[:, 0]

    def tokens(self, rows):
        """(slots, index among the slot's live rows) of rows; (0, -1) for rows beyond the table."""
        rows = np.asarray(rows)
        inside = rows < len(self.table)
        if not len(self.table):
            return np.zeros(len(rows), np.int64), np.full(len(rows), -1)
        slots = np.where(inside, self.slot[np.where(inside, rows, 0)], 0)
        first = np.array([np.argmax(self.slot == slot) for slot in range(len(self.sentence))])
        return slots, np.where(inside, rows - first[slots], -1)

    def admit(self, slot, sentence, rows, positions):
        """A new sentence in a slot; whether its rows are those behind the ones that are there."""
        base = len(self.table)
        if not np.array_equal(rows, base + np.arange(len(rows))):
            return False
        self.sentence[slot], self.layer[slot] = sentence, 0
        self.table = np.concatenate(
            [self.table, np.stack([np.full(len(rows), slot), positions], axis=1)]
        )
        return True

    def begin_pass(self):
        """Count the tiles that hold rows of sentences at different layers."""
        layers = self.layer[self.slot]
        self.mixed_tiles += sum(
            len(set(layers[i : i + self.lanes])) > 1 for i in range(0, len(layers), self.lanes)
        )

    def show(self, slots):
        """Slots that hold another sentence or layer now."""
        self.sentence[slots["slot"]] = slots["sentence"]
        self.layer[slots["slot"]] = slots["layer"]

    def drop(self, rows, keep):
        """The table without the rows that are not kept."""
        stay = np.ones(len(self.table), bool)
        stay[rows[(keep == 0) & (rows < len(stay))]] = False
        return self.table[stay]

    def without(self, slots):
        """The table without the rows of some slots."""
        return self.table[~np.isin(self.slot, slots)]

    def replace(self, table):
        self.table = table
