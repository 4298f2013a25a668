# SPDX-License-Identifier: Apache-2.0
"""Cycles of the array (part of sim/cycles/model.py): columns through the lanes and their drain.

All times are cycles. A column is the unit of work; what happens inside one follows from its first
and last entry, because a lane's multipliers take at most an entry a cycle.
"""

from hw.array import store
from hw.array.drain import LATENCY as DRAIN
from hw.array.mac_lane import PIPELINE, WINDOW
from hw.array.ring import LATENCY as RING
from sim.cycles.memory import BEFORE

__all__ = ["Array"]


class _Lane:
    """One lane between two groups.

    start : when the first entry of its next column may be consumed
    end : when the last entry of the column before was
    sums : when that column's sums came to the end of the pipeline
    result : when they went on to the result, which the column before had to leave
    taken : when they left it
    """

    __slots__ = ("end", "result", "start", "sums", "taken")

    def __init__(self):
        self.start = 0
        self.end = self.sums = self.result = self.taken = BEFORE

    def column(self, seen, count, least):
        """When the sums of a column of `count` entries are in the result.

        The first entry is consumed from `seen` on, the last one not before `least`. While the sums
        of the column before wait for the result, the pipeline stands still.
        """
        begin = max(seen, self.start)
        moving = max(0, self.sums - begin)  # entries until those sums come to the pipeline's end
        late = 0
        if moving < count:
            if self.result > self.sums:
                begin = max(self.result, begin + moving) - moving
            end = begin + count - 1
        else:
            end = begin + count - 1
            late = max(0, self.result - self.sums)
        self.end = max(end, least)
        self.start = self.end + 1
        self.sums = self.end + PIPELINE + late
        self.result = max(self.sums, self.taken + 1)
        return self.result


class Array:
    """The lanes and their drain: a group is let into the window (`enter`), then run (`group`).

    entered : when the last group came into the window
    last : when its last column left its lane
    turned : rows that the store turns of each group, 0 where it turns none
    emptied : when the store's turn was empty
    """

    def __init__(self, lanes):
        self.turned = 0
        self.entered = self.last = self.emptied = BEFORE
        self._lanes = [_Lane() for _ in range(lanes)]
        self._gone = [BEFORE] * WINDOW  # groups: when their last column left
        self._turns = [BEFORE] * 2  # groups: when their turn in the store began; it has two blocks

    @property
    def ends(self):
        """When each lane consumed the last entry of its last column."""
        return [lane.end for lane in self._lanes]

    def enter(self, ready):
        """When the next group, whose command is there at `ready`, is in the window."""
        self.entered = max(self.entered + 1, ready, self._gone[-WINDOW] + 1)
        return self.entered

    def group(self, entries, arrival, leave=None, loaded=0):
        """Run the group that entered.

        entries : of the column of each lane
        arrival : when the last entry of each is there; None: all are there
        leave : function of when a column could leave its lane, that tells when it does
        loaded : when the group's tile is complete. Rows come at least as fast as entries take
            them, so only the last entry waits, for the last row
        """
        seen = self._seen()
        # The store's turn holds two blocks: the columns of a third one wait for the first.
        left = max(self.last, self._turns[-2] - DRAIN - store.latency(coded=True))
        arrival = arrival or [0] * len(entries)
        for lane, count, there in zip(self._lanes, entries, arrival, strict=True):
            result = lane.column(seen, count, there if there > loaded else loaded)
            left = (result if result > left else left) + 1
            if leave is not None:
                left = leave(left)
            lane.taken = left
        self._finish(left)

    def rewind(self):
        """The lanes go back to their block's first column."""
        for lane in self._lanes:
            lane.start = lane.end + RING

    def _seen(self):
        """When the lanes see the group that entered: in the window's first places."""
        if self._gone[-2] >= self.entered:
            return self.entered
        moves = 2 if self._gone[-1] <= self.entered else 1
        return self.entered + moves

    def _finish(self, left):
        """The group's last column leaves at `left`; the store turns its rows."""
        self.last = left
        written = left + DRAIN + store.latency(coded=True)
        self._turns = [self._turns[-1], max(written, self.emptied)]
        self.emptied = self._turns[-1] + self.turned
        self._gone = [*self._gone[1:], left]
