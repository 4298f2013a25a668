# SPDX-License-Identifier: Apache-2.0
"""Cycles of LINEAR (part of sim/cycles/model.py): tiles into the array, columns to the buffers.

All times are cycles.
"""

from dataclasses import dataclass, field

from firmware.isa import Opcode, Source, Target
from hw import buffer
from hw.arith import adaptivfloat
from hw.array import linear, operand, store
from hw.array.drain import DEPTH as PLACES
from hw.array.drain import LATENCY as DRAIN
from hw.array.mac_array import LOAD, OPEN
from hw.program import issue
from hw.rows import gather
from sim.cycles.array import Array
from sim.cycles.memory import BEFORE

__all__ = ["Linears", "Written"]

GATHERED = (Source.STATE, Source.CLS)  # sources that the gather reads


@dataclass
class Written:
    """What a LINEAR or NORM wrote, for the operation that follows it.

    values : its instruction
    ended : when its engine had; taken : when that was free for the next one
    begun : by tile, when the last words of it began to be written; of NORM none
    written : by tile, when the last one was
    """

    values: dict = field(default_factory=dict)
    ended: int = 0
    taken: int = 0
    begun: dict = field(default_factory=dict)
    written: dict = field(default_factory=dict)

    def feeds(self, values):
        """Whether it writes what an operation with the fields `values` reads."""
        source = values.get("source", 0)
        target = self.values.get("target_buffer", 0)
        if self.values.get("opcode") == Opcode.LINEAR:
            return target == Target.CODES and source == Source.CODES
        if target == Target.NORMED:
            return source == Source.NORMED
        return target == Target.STATE and source in GATHERED


class Linears:
    """The engine of LINEAR, one operation after the other: banks, commands, array and store."""

    def __init__(self, config):
        self._columns = config.columns
        self._array = Array(config.columns)
        self._loads = _Loads(config)
        self._bank = 0  # the next one to be filled
        self._free = [0, 0]  # banks: when they may be
        self._pushed = [BEFORE] * linear.COMMANDS  # commands: when they came into their queue
        self._popped = [BEFORE] * linear.COMMANDS  # when they left it
        self._passed = [BEFORE] * PLACES  # columns: when they came to the store

    def run(self, values, code, streams, start, heights, before):
        """The `Written` of a LINEAR.

        values : its instruction
        code, streams : `LaneCode` of its columns; `Streams`, of which the last one is its own
        start : when it starts
        heights : {tile: rows up to the last live one}
        before : `Written` of the operation that it follows
        """
        self._begin(values, code, streams, heights, before, start)
        tiles = list(heights)
        block_size = values["block"]
        send = start + linear.START + self._first_tile
        for first in range(0, values["groups"], block_size):
            block = range(first, min(first + block_size, values["groups"]))
            for tile in tiles:
                send = self._tile(block, tile, send, tiles)
            sent = send
            send += linear.NEXT_BLOCK - linear.NEXT_TILE + self._first_tile
        streams.finished()
        written = self._written
        written.taken = max(sent, self._loaded - 1, before.ended) + issue.NOTICED
        written.ended = self._array.emptied if self._turns else self._passed[-1] + self._store
        return written

    def _begin(self, values, code, streams, heights, before, start):
        target = values["target_buffer"]
        coded = target not in (Target.SUM, Target.SCORES)
        self._code = code
        self._streams = streams
        self._heights = heights
        self._turns = target == Target.VALUES
        # The store takes no column of this LINEAR before.
        self._open = before.ended + issue.NOTICED + 1
        self._store = store.latency(coded)
        self._written = Written(values)
        # Tiles without a selected row cost a cycle each; [CLS] tiles are known at once.
        self._first_tile = -linear.CLS if values.get("cls") else next(iter(heights))
        follows = before.ended + issue.NOTICED >= start and before.feeds(values)
        self._loads.begin(values, before if follows else None)

    def _tile(self, block, tile, send, tiles):
        """The groups `block` on a tile that is sent at `send`; when the next one is sent."""
        taken = send
        self._array.turned = self._heights[tile] if self._turns else 0
        # A single tile is loaded once, for all blocks.
        if len(tiles) > 1 or block.start == 0:
            taken = self._load(tile, send)
        self._pushed.append(max(send, self._popped[-linear.COMMANDS] + 1))
        last = tile == tiles[-1]
        self._groups(block, tile, tile == tiles[0], last)
        self._popped.append(self._array.entered - 1)
        self._free[self._filled] = self._array.last + 1
        self._written.written[tile] = self._passed[-1] + self._store
        if not last:
            self._array.rewind()
        return max(taken, self._pushed[-1]) + linear.NEXT_TILE

    def _load(self, tile, send):
        """Fill the next bank; when the request was taken."""
        self._filled = self._bank
        self._bank = 1 - self._bank
        taken, first, last = self._loads.load(tile, send, self._free[self._filled])
        self._readable = first + LOAD
        self._loaded = last + LOAD
        return taken

    def _groups(self, block, tile, first_tile, last_tile):
        """A block's groups on a tile: the first tile waits for weights, the last releases them."""
        command = max(self._pushed[-1] + OPEN, self._readable + 1)
        for group in block:
            self._array.enter(command if group == block.start else 0)
            arrival = self._streams.until(group) if first_tile else None
            self._array.group(self._code.entries[group], arrival, self._leave, self._loaded)
            if group == block.start:
                # Its first column; the group's others follow one a cycle.
                self._written.begun[tile] = self._passed[-1] - self._columns + self._store
            if last_tile:
                self._streams.released.append(self._array.ends)

    def _leave(self, ready):
        """When a column leaves its lane that could at `ready`: the drain must have a place."""
        left = max(ready, self._passed[-PLACES] + 1)
        self._passed.append(max(left + DRAIN, self._passed[-1] + 1, self._open))
        return left


class _Loads:
    """Tiles of K words from the operand to the array, one behind the other."""

    def __init__(self, config):
        self._config = config
        self._idle = 0  # when the source takes the next request
        self._passed = [BEFORE] * operand.REQUESTS  # requests: when their source took them

    def begin(self, values, before):
        """The tiles of an operation; before : `Written` that is still being written, or None."""
        gathered = values["source"] in GATHERED
        encoder = 0 if values["source"] == Source.CODES else adaptivfloat.LATENCY
        reduction = values["reduction"]
        self._reduction = reduction
        self._before = before
        self._all_tiles = values.get("cls") and values["source"] == Source.CLS
        # From a request to the first word; from the last word to the next request; from what is
        # written last to the last word.
        if gathered:
            self._first = gather.cycles(self._config) + encoder
            self._again = gather.rest(self._config, reduction) - encoder
            self._behind = gather.behind(self._config) + encoder
        else:
            self._first = buffer.LATENCY + encoder
            self._again = -buffer.EARLY - encoder
            self._behind = self._first

    def load(self, tile, send, free):
        """(when the request was taken, when its first row comes, when its last does).

        send : when it is asked for; free : when the bank is
        """
        taken = max(send, self._passed[-operand.REQUESTS] + 1)
        self._passed.append(max(taken + operand.REQUEST, self._idle))
        first = max(self._passed[-1] + self._first, free)
        last = max(first + self._reduction - 1, self._followed(tile))
        self._idle = last + self._again
        return taken, first, last

    def _followed(self, tile):
        """The earliest last row of a tile that the operation before is still writing."""
        before = self._before
        if before is None:
            return 0
        if self._all_tiles:
            tile = max(before.written)
        begun = before.begun.get(tile, 0) if len(before.written) > 1 else 0
        return max(begun + self._first + self._reduction, before.written[tile] + 1 + self._behind)
