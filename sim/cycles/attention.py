# SPDX-License-Identifier: Apache-2.0
"""Cycles of ATTEND (part of sim/cycles/model.py): turns through loads, feeder, array and softmax.

All times are cycles. hw/attention/attention.py says what a turn and an item are. Turns are followed
in the order in which they depend on each other: the scores of an item need the load of the turn
behind them, because the softmax takes them when the numerators of the item before are in the array.
"""

from typing import NamedTuple

from golden_model.hardware import ceil_div
from hw import buffer, stream
from hw.arith import requantize
from hw.array import normalize, operand, store
from hw.array.drain import DEPTH as PLACES
from hw.array.drain import LATENCY as DRAIN
from hw.array.mac_array import DENSE, LOAD, OPEN
from hw.attention import feed, scoring, softmax, turns, walkers
from hw.attention.attention import AHEAD
from sim.cycles.array import Array
from sim.cycles.memory import BEFORE

__all__ = ["attend"]


class Item(NamedTuple):
    """One head of one query tile of a slot, whose rows are first .. first + count - 1."""

    first: int
    count: int
    tile: int
    head: int


def attend(config, values, rows, start):
    """When an ATTEND has ended that starts at `start`.

    values : its instruction; rows : (first logical row, rows) of each selected slot
    """
    lanes = config.tokens
    items = [
        Item(first, count, tile, head)
        for first, count in rows
        for tile in range(first // lanes, (first + count - 1) // lanes + 1)
        for head in range(values["groups"])
    ]
    machine = _Machine(config, values["reduction"])
    offered = start + turns.NEXT_SLOT + items[0].first // lanes
    for item, following in zip(items, [*items[1:], None], strict=True):
        pushed = machine.score(item, offered)
        offered = pushed + 1
        if following and following.head == 0:
            if following.first == item.first:
                offered = pushed + turns.NEXT_TILE
            else:
                offered = pushed + turns.NEXT_SLOT + following.first // lanes
    machine.context()
    return machine.passed + store.latency(coded=True, context=True) + 1


class _Machine:
    """What is kept from turn to turn.

    head : features of a head
    passed : when the last column came to the store
    """

    def __init__(self, config, head):
        self._config = config
        self._head = head
        self._array = Array(config.columns)
        # By turn: given to all parts; first word of its load; loaded; walked by the feeder; when
        # its last column left the array.
        self._pushed = []
        self._begun = []
        self._loaded = []
        self._walked = []
        self._left = []
        # By item: itself; when its denominators were taken.
        self._items = []
        self._summed = []
        # Of the last item: its reciprocals are there; its last score; the last column of the
        # context before it.
        self._open = 0
        self._scored = 0
        self._closed = 0
        # The feeder: when each run's last word was fed; when each command left its queue; when each
        # buffer is free; when the last word was fed.
        self._runs = [BEFORE] * feed.RUNS
        self._popped = [BEFORE] * feed.COMMANDS
        self._free = {}
        self._fed = 0
        # When the last columns came to the store, and scores to the softmax.
        self._passed = [BEFORE] * PLACES
        self._scores = [BEFORE] * requantize.LATENCY

    @property
    def passed(self):
        return self._passed[-1]

    def score(self, item, offered):
        """An item's scores and the context of the one before.

        offered : when the item is; returns when it was taken
        """
        summed = self._summed[-AHEAD] + 1 if len(self._summed) >= AHEAD else 0
        turn = self._push(max(offered, summed))
        self._load(turn, self._head, operand.REQUEST + buffer.LATENCY)
        behind = self._items[-1] if self._items else None
        # The softmax is free for this item when the numerators of the one before are in the array.
        if behind:
            self._numerators(self._push(0))
        self._items.append(item)
        taken = max(self._pushed[turn], self._summed[-1] if self._summed else 0) + 1
        pause = scoring.positions(self._config) if item.head == 0 else scoring.ITEM
        self._keys(turn, item, taken + pause)
        if behind:
            self._values(turn + 1, behind)
        return self._pushed[turn]

    def context(self):
        """The last item's."""
        turn = self._push(0)
        self._numerators(turn)
        self._values(turn, self._items[-1])

    def _push(self, offered):
        """A new turn, offered to all parts; its number."""
        turn = len(self._pushed)
        times = [offered, *(when + 1 for when in self._pushed[-1:])]
        if turn >= AHEAD:
            times += [self._loaded[turn - AHEAD] + 1, self._walked[turn - AHEAD] + 1]
        self._pushed.append(max(times))
        return turn

    def _load(self, turn, words, ready):
        """`words` into the bank that the turn before the last has left.

        ready : cycles from the request to the first word
        """
        asked = max(self._pushed[turn], self._loaded[-1] if self._loaded else 0) + 1
        begin = max(asked + ready, self._left[turn - 2] + 1 if turn >= 2 else 0)
        self._begun.append(begin)
        self._loaded.append(begin + words - 1)

    def _numerators(self, turn):
        """The last item's numerators are the turn's load; its denominators follow them."""
        asked = max(self._pushed[turn], self._loaded[-1]) + 1
        ready = self._scored + softmax.latency(self._config)
        self._load(turn, self._items[-1].count, max(0, ready - asked))
        # The set of denominators before must have served its last column.
        served = self._closed + normalize.LATENCY + 1 if len(self._items) > 1 else 0
        self._summed.append(max(self._loaded[-1] + 1, served))
        self._open = self._summed[-1] + normalize.reciprocals(self._config)

    def _walk(self, turn):
        """When the feeder has the turn."""
        return max(self._pushed[turn], self._walked[-1] if self._walked else 0) + 1

    def _announce(self, when):
        """When the group's command is in its queue."""
        return max(when, self._popped[-feed.COMMANDS] + 1)

    def _run(self, source, when, words, spare=0):
        """(when the words of a buffer are asked for, when the last one is fed).

        spare : 1 where lanes without a key take a zero behind them
        """
        asked = max(when, self._runs[-feed.RUNS] + 1, self._free.get(source, 0))
        fed = max(asked + buffer.LATENCY, self._fed + 1) + words - 1
        self._free[source] = fed - buffer.EARLY
        self._fed = fed + spare
        self._runs.append(self._fed)
        return asked, fed

    def _group(self, turn, announced, entries, fed, leave):
        """Run a group.

        entries, fed : of each lane, and when its last one is in the lanes' queue
        """
        loading = self._begun[turn] + LOAD + 1
        self._array.enter(max(announced + OPEN, loading))
        self._popped.append(self._array.entered - 1)
        arrival = [when + stream.cycles(DENSE) for when in fed]
        self._array.group(entries, arrival, leave, self._loaded[turn] + LOAD)

    def _keys(self, turn, item, works):
        """The groups of an item's scores; works : when the softmax takes them."""
        place = self._walk(turn) + walkers.KEYS + item.first // self._config.tokens
        group = _KeyGroup(self._config)
        announced = 0
        for tile, part, opens, closes in _key_runs(self._config, item):
            asking = place
            if opens:
                announced = self._announce(asking)
                asking = announced + 1
            spare = int(closes and group.spare())
            asked, last = self._run("keys", asking, self._head, spare)
            group.add(item, tile, part, last)
            if closes:
                self._score_group(turn, announced, group, works)
                group = _KeyGroup(self._config)
            place = asked + 1
            if _last_part(self._config, item, tile, part):
                place += 1
        self._walked.append(asked)
        self._left.append(self._array.last)

    def _score_group(self, turn, announced, group, works):
        """A group of keys; lanes without one take a zero when the others have been fed."""
        rest = self._config.columns - len(group.fed)
        real = iter([*group.real, *[False] * rest])
        self._group(
            turn,
            announced,
            [self._head] * len(group.fed) + [1] * rest,
            group.fed + [self._fed] * rest,
            lambda ready: self._score(ready, next(real), works),
        )

    def _values(self, turn, item):
        """The groups of an item's context."""
        columns = self._config.columns
        place = self._walk(turn) + 1
        for _ in range(ceil_div(self._head, columns)):
            announced = self._announce(place)
            asked, fed = self._run("values", announced + 1, item.count)
            entries = [item.count] * columns
            self._group(turn, announced, entries, [fed] * columns, self._context)
            place = asked + 1
        self._walked.append(asked)
        self._left.append(self._array.last)
        self._closed = self.passed

    def _score(self, ready, real, works):
        """When a column of scores leaves its lane; the softmax takes those of `real` keys."""
        left = max(ready, self._passed[-PLACES] + 1)
        room = self._scores[-requantize.LATENCY]
        self._passed.append(max(left + DRAIN, self.passed + 1, room))
        scored = max(self.passed + requantize.LATENCY, self._scores[-1] + 1, works if real else 0)
        self._scores.append(scored)
        if real:
            self._scored = scored
        return left

    def _context(self, ready):
        """When a column of a context leaves its lane; the store divides it when it can."""
        left = max(ready, self._passed[-PLACES] + 1)
        self._passed.append(max(left + DRAIN, self.passed + 1, self._open))
        return left


class _KeyGroup:
    """Lanes of a group of keys so far: when each was fed, and whether its key is the slot's."""

    def __init__(self, config):
        self._config = config
        self.fed = []
        self.real = []

    def add(self, item, tile, part, fed):
        """The keys of a part of a tile, whose last word is fed at `fed`."""
        t = self._config.tokens
        p = self._config.columns
        live = range(item.first, item.first + item.count)
        lanes = range(part * p, part * p + min(t, p))
        self.fed += [fed] * len(lanes)
        self.real += [lane < t and tile * t + lane in live for lane in lanes]

    def spare(self):
        """Whether lanes are left when one more tile is in."""
        t = self._config.tokens
        return t <= self._config.columns and len(self.fed) + t < self._config.columns


def _key_runs(config, item):
    """(tile, part, whether a group begins, whether it ends) of each run of keys of an item.

    A group takes P // T whole tiles; where P < T it takes one part of P keys of a tile, and parts
    without a key of the slot are left out.
    """
    t = config.tokens
    p = config.columns
    members = max(1, p // t)
    cut = t > p
    first, last = item.first // t, (item.first + item.count - 1) // t
    for index, tile in enumerate(range(first, last + 1)):
        for part in _parts(config, item, tile):
            opens = cut or index % members == 0
            closes = cut or index % members == members - 1 or tile == last
            yield tile, part, opens, closes


def _parts(config, item, tile):
    """The parts of a tile that hold a key of the item's slot."""
    begin = max(0, item.first - tile * config.tokens)
    end = item.first + item.count - tile * config.tokens
    whole = ceil_div(config.tokens, config.columns)
    return range(begin // config.columns, min(whole, ceil_div(end, config.columns)))


def _last_part(config, item, tile, part):
    return part == _parts(config, item, tile)[-1]
