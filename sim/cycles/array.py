# SPDX-License-Identifier: Apache-2.0
"""Cycles of the array and of LINEAR (part of sim/cycles/model.py): tiles into the banks, columns out of the lanes, their drain and what follows.

All times are cycles. A column is the unit of work; what happens inside one follows from its first and last entry, because a lane's decoder gives, and
its multipliers take, at most an entry a cycle.
"""

from dataclasses import dataclass, field

from firmware.isa import Opcode, Source, Target

__all__ = ["Array", "Ending", "Linears"]

PIPELINE = 3  # from a column's last entry to its result; one more where products are shifted
REWIND = 3  # from a column's last entry to the block's first one
WINDOW = 3  # groups that lanes may be apart
DRAIN = 2  # columns between the lanes and the store
ENCODER = 3
STORE = 11  # from a drained column until it is written: requantize, function, write; codes pass the encoder too
BEFORE = -99


class Array:
    """The lanes and the drain, group after group: `enter` it into the window, then run it. last: when its last column was drained."""

    def __init__(self, lanes):
        self.lanes, self.turned = lanes, 0  # rows that the store turns of a group
        self.end = [-9] * lanes
        self.taken = [-9] * lanes
        self.start = [0] * lanes
        self.natural, self.capture = [-9] * lanes, [-9] * lanes
        self.gone, self.entered, self.last = (
            [-9] * WINDOW,
            -9,
            -9,
        )  # when groups left, the last one came; the last column
        self.turns, self.emptied = (
            [BEFORE, BEFORE],
            BEFORE,
        )  # when the turns of groups began, when the last one's ended

    def enter(self, ready):
        """When the next group, whose command is `ready`, is in the window."""
        self.entered = max(self.entered + 1, ready, self.gone[-WINDOW] + 1)
        return self.entered

    def group(self, entries, arrival, leave=None, loaded=0):
        """Run the group that entered: `entries` of each lane, their `arrival` or None; `leave` tells when a column, ready to, leaves its lane.

        loaded : when its tile is complete: rows come at least as fast as entries take them, but the last entry waits for the last row
        """
        seen = self.entered
        if self.gone[-2] < seen:  # it moves up to where lanes look for it
            seen += 1 + (self.gone[-1] < seen + 1)
        chain = max(self.last, self.turns[-2] - STORE - ENCODER)
        for lane, count in enumerate(entries):
            begin = max(seen, self.start[lane])
            natural, capture = self.natural[lane], self.capture[lane]
            before = max(0, natural - begin)
            if capture > natural and before < count:  # the pipeline stood still
                end = max(capture, begin + before) + count - before - 1
                delay = 0
            else:
                end, delay = begin + count - 1, max(0, capture - natural) if before >= count else 0
            end = max(end, loaded, arrival[lane] if arrival is not None else 0)
            self.natural[lane] = end + PIPELINE + delay
            self.capture[lane] = max(self.natural[lane], self.taken[lane] + 1)
            chain = max(chain, self.capture[lane]) + 1
            if leave is not None:
                chain = leave(chain)
            self.end[lane] = end
            self.start[lane] = end + 1
            self.taken[lane] = chain
        self.last = chain
        self.turns = [self.turns[-1], max(chain + STORE + ENCODER, self.emptied)]
        self.emptied = self.turns[-1] + self.turned
        self.gone = [*self.gone[1:], chain]

    def rewind(self):
        self.start = [end + REWIND for end in self.end]


@dataclass
class Ending:
    """The operation before: when it has `ended`, when its engine was free; by tile, when its last time round began and its last word was written."""

    values: dict = field(default_factory=dict)
    ended: int = 0
    taken: int = 0
    begun: dict = field(default_factory=dict)
    written: dict = field(default_factory=dict)

    def makes(self, values):
        """Whether it writes what an operation with these fields reads."""
        source, target = values.get("source", 0), self.values.get("target_buffer", 0)
        if self.values.get("opcode") == Opcode.LINEAR:
            return target == Target.CODES and source == Source.CODES
        return {
            Target.NORMED: source == Source.NORMED,
            Target.STATE: source in (Source.STATE, Source.CLS),
        }.get(target, False)


class Linears:
    """The engine of LINEAR, one operation after another: what is kept of banks, commands, array and drain."""

    def __init__(self, config):
        self.config, self.array = config, Array(config.columns)
        self.loads, self.free, self.bank = (
            _Loads(config),
            [0, 0],
            0,
        )  # when the banks may be filled; the next one to be
        self.pushed, self.popped, self.passed = (
            [BEFORE] * 2,
            [BEFORE] * 2,
            [BEFORE] * DRAIN,
        )  # commands; columns at the store

    def run(self, values, code, streams, start, tiles, before):
        """`Ending` of a LINEAR on tiles {number: rows up to the last live one}, started at `start`; its stream is the last one of `streams`.

        before : `Ending` of the operation that it follows
        """
        heights, tiles = tiles, list(tiles)
        coded = values["target_buffer"] not in (Target.SUM, Target.SCORES)
        turned = values["target_buffer"] == Target.VALUES
        single = len(tiles) == 1
        cls = values.get("cls")
        store = STORE - DRAIN + (ENCODER if coded else 0)  # from a column's way into the store
        array, self.open = self.array, before.ended + 1
        self.loads.begin(values, before if before.ended >= start and before.makes(values) else None)
        ending = Ending(values)
        send = start + (3 if cls else 4 + tiles[0])
        begun = 0
        ready = 0
        bank = 0
        for first in range(0, values["groups"], values["block"]):
            block = range(first, min(first + values["block"], values["groups"]))
            for index, tile in enumerate(tiles):
                taken, array.turned = send, heights[tile] if turned else 0
                if not single or first == 0:
                    bank, self.bank = self.bank, 1 - self.bank
                    taken, begun, ready = self.loads.load(send, self.free[bank], tile)
                self.pushed.append(max(send, self.popped[-2] + 1))
                command = max(self.pushed[-1] + 2, begun + 1)
                for number, group in enumerate(block):
                    array.enter(command if number == 0 else 0)
                    array.group(
                        code.entries[group],
                        streams.until(group) if index == 0 else None,
                        self._leave,
                        ready,
                    )
                    ending.begun[tile] = (
                        ending.begun[tile]
                        if number
                        else self.passed[-1] - self.config.columns + store
                    )
                    if index == len(tiles) - 1:
                        streams.released.append(list(array.end))
                self.popped.append(array.entered - 1)
                self.free[bank] = array.last + 1
                ending.written[tile] = self.passed[-1] + store
                if index < len(tiles) - 1:
                    array.rewind()
                send = max(taken, self.pushed[-1]) + 2
            sent, send = send, send + (1 if cls else 2 + tiles[0])
        streams.finished()
        ending.taken = max(sent, ready - 1, before.ended)
        ending.ended = array.emptied if turned else self.passed[-1] + store
        return ending

    def _leave(self, taken):
        """A column leaves its lane when those before make room; the store takes those of an operation when the one before has ended."""
        taken = max(taken, self.passed[-DRAIN])
        self.passed.append(max(taken + DRAIN, self.passed[-1] + 1, self.open))
        return taken


class _Loads:
    """Tiles of K words from the operand to the array, one behind the other."""

    def __init__(self, config):
        self.t = config.tokens
        self.idle = 0
        self.before = None

    def begin(self, values, before):
        """The tiles of an operation; before : of the operation that is still writing them, if any."""
        t, k = self.t, values["reduction"]
        gathered = values["source"] in (Source.STATE, Source.CLS)
        encoder = 0 if values["source"] == Source.CODES else ENCODER
        self.first = (
            2 * t + 4 + encoder if gathered else 2 + encoder
        )  # from the request to the first word
        self.again = (
            2 + -k % t if gathered else -1
        ) - encoder  # from the last word to the next request
        self.behind = (
            2 * t + 2 + encoder if gathered else self.first
        )  # from what is written last to the last word
        self.k = k
        self.before = before
        self.cls = values.get("cls") and values["source"] == Source.CLS

    def load(self, send, free, tile):
        """(when the request was taken, when the first row is there, when the tile is)."""
        taken = max(send, self.idle)
        begin = max(taken + self.first, free)
        last = begin + self.k - 1
        if self.before is not None:
            tile = max(self.before.written) if self.cls else tile
            begun = self.before.begun.get(tile, 0) if len(self.before.written) > 1 else 0
            last = max(
                last, begun + self.first + self.k, self.before.written[tile] + 1 + self.behind
            )
        self.idle = last + self.again
        return taken, begin + 2, last + 2
