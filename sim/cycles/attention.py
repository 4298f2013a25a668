# SPDX-License-Identifier: Apache-2.0
"""Cycles of ATTEND (part of sim/cycles/model.py): its turns through loads, feeder, array and softmax (hw/attention/attention.py).

All times are cycles. Turns are followed in the order in which they depend on each other: the scores of an item need the load of the turn behind
them, because the softmax takes them when the numerators of the item before are in the array.
"""

from golden_model.hardware import ceil_div
from sim.cycles.array import Array

__all__ = ["attend"]

AHEAD, RUNS, COMMANDS = 2, 2, 4  # turns, runs, commands that wait
SOFTMAX, SPAN = 12, 5  # from the last score to the first numerator; the span mask's stages
QUEUE = 1  # from a code to the lane
DRAIN, REQUANTIZE = 2, 3  # stages from a lane to the store; to the softmax
RECIPROCAL = 7  # from the denominators to the first column of the context, and T
NORMALIZE = 5  # from the last column of a context to the next denominators
DONE = 14  # from the last column of all: normalize, encode, write
NEVER = -99


def attend(config, values, rows, start):
    """The cycle in which an ATTEND on `rows`, (first logical row, rows) of each slot, has ended, whose decoding was at `start`."""
    t = config.tokens
    items = [
        (first, count, tile, head)
        for first, count in rows
        for tile in range(first // t, (first + count - 1) // t + 1)
        for head in range(values["groups"])
    ]
    machine, offered = _Machine(config, values["reduction"]), start + 6 + items[0][0] // t
    for number, item in enumerate(items):
        pushed = machine.score(item, offered)
        offered = pushed + 1
        if number + 1 < len(items) and items[number + 1][3] == 0:
            slot = items[number + 1][0]
            offered = pushed + (3 if slot == item[0] else 6 + slot // t)
    machine.context()
    return machine.passed[-1] + DONE


class _Machine:
    """What is kept from turn to turn. By turn: `pushed` to the parts, `begun` to be loaded, `loaded` and `walked` by them, `left` the array."""

    def __init__(self, config, head):
        self.config, self.head = config, head
        self.array = Array(config.columns)
        self.pushed = []
        self.begun = []
        self.loaded = []
        self.walked = []
        self.left = []
        self.items, self.summed = (
            [],
            [],
        )  # by item: its slot's rows; when its denominators were taken
        self.open, self.scored, self.closed = (
            0,
            0,
            0,
        )  # the last item's: reciprocals are there, last score, last column of the context before
        self.runs = [NEVER] * RUNS
        self.popped = [NEVER] * COMMANDS
        self.free = {}
        self.fed = 0
        self.passed, self.scores = (
            [NEVER] * DRAIN,
            [NEVER] * REQUANTIZE,
        )  # columns at the store; scores at the softmax

    def score(self, item, offered):
        """An item's scores and the context of the one before; when the item was taken."""
        turn = self._push(max(offered, self.summed[-AHEAD] + 1 if len(self.summed) >= AHEAD else 0))
        first, count, tile, head = item
        self._load(turn, self.head, 2)
        behind = bool(self.items)
        if behind:  # the softmax is free for this item when the numerators of the one before are in the array
            self._numerators(self._push(0))
        self.items.append((first, count))
        taken = max(self.pushed[turn], self.summed[-1] if self.summed else 0) + 1
        self._keys(turn, first, count, taken + (self.config.tokens + 4 if head == 0 else 1))
        if behind:
            self._values(turn + 1, *self.items[-2])
        return self.pushed[turn]

    def context(self):
        """The last item's."""
        turn = self._push(0)
        self._numerators(turn)
        self._values(turn, *self.items[-1])

    def _push(self, offered):
        turn = len(self.pushed)
        before = [when[turn - AHEAD] for when in (self.loaded, self.walked) if turn >= AHEAD]
        self.pushed.append(max([offered, *(when + 1 for when in (*self.pushed[-1:], *before))]))
        return turn

    def _load(self, turn, words, ready):
        """`words` into the bank that the turn before the last has left; the first comes `ready` cycles after the turn."""
        asked = max(self.pushed[turn], self.loaded[-1] if self.loaded else 0) + 1
        begin = max(asked + ready, self.left[turn - 2] + 1 if turn >= 2 else 0)
        self.begun.append(begin)
        self.loaded.append(begin + words - 1)

    def _numerators(self, turn):
        count = self.items[-1][1]
        asked = max(self.pushed[turn], self.loaded[-1]) + 1
        ready = self.scored + SOFTMAX + (SPAN if "span" in self.config.units else 0)
        self._load(turn, count, max(0, ready - asked))
        self.summed.append(
            max(self.loaded[-1] + 1, self.closed + NORMALIZE if len(self.items) > 1 else 0)
        )
        self.open = self.summed[-1] + self.config.tokens + RECIPROCAL

    def _walk(self, turn):
        """When the feeder has the turn."""
        return max(self.pushed[turn], self.walked[-1] if self.walked else 0) + 1

    def _announce(self, when):
        """When the group's command is in its queue."""
        return max(when, self.popped[-COMMANDS] + 1)

    def _run(self, buffer, when, words, spare=0):
        """(when the words were asked for, when the last was fed)."""
        asked = max(when, self.runs[-RUNS] + 1, self.free.get(buffer, 0))
        fed = max(asked + 2, self.fed + 1) + words - 1
        self.free[buffer], self.fed = fed - 1, fed + spare
        self.runs.append(self.fed)
        return asked, fed

    def _group(self, turn, announced, entries, fed, leave):
        self.array.enter(max(announced + 2, self.begun[turn] + 3))
        self.popped.append(self.array.entered - 1)
        self.array.group(entries, [when + QUEUE for when in fed], leave, self.loaded[turn] + 2)

    def _keys(self, turn, first, count, works):
        """P keys a group, or where P < T a part of a tile that has any."""
        t = self.config.tokens
        p = self.config.columns
        live = range(first, first + count)
        members, parts = max(1, p // t), ceil_div(t, p)
        tiles = range(first // t, (first + count - 1) // t + 1)
        place = self._walk(turn) + 3 + first // t
        fed = []
        keys = []
        announced = 0
        for index, tile in enumerate(tiles):
            for part in range(
                max(0, first - tile * t) // p, min(parts, ceil_div(first + count - tile * t, p))
            ):
                closing = parts > 1 or index % members == members - 1 or tile == tiles[-1]
                asking = place
                if parts > 1 or index % members == 0:
                    announced = self._announce(asking)
                    asking = announced + 1
                spare = int(closing and parts == 1 and len(fed) + t < p)
                asked, last = self._run("keys", asking, self.head, spare)
                fed += [last] * min(t, p)
                keys += [
                    tile * t + part * p + lane if part * p + lane < t else -1
                    for lane in range(min(t, p))
                ]
                if closing:
                    rest = p - len(fed)
                    real = iter([key in live for key in keys] + [False] * rest)
                    self._group(
                        turn,
                        announced,
                        [self.head] * len(fed) + [1] * rest,
                        fed + [self.fed] * rest,
                        lambda taken, real=real: self._score(taken, next(real), works),
                    )
                    fed, keys = [], []
                place = asked + 1
            place += 1
        self.walked.append(asked)
        self.left.append(self.array.last)

    def _values(self, turn, first, count):
        p, at = self.config.columns, self._walk(turn) + 1
        for _ in range(ceil_div(self.head, p)):
            announced = self._announce(at)
            asked, fed = self._run("values", announced + 1, count)
            self._group(turn, announced, [count] * p, [fed] * p, self._context)
            at = asked + 1
        self.walked.append(asked)
        self.left.append(self.array.last)
        self.closed = self.passed[-1]

    def _score(self, taken, real, works):
        """A column leaves its lane when those before make room; the softmax takes those of keys."""
        taken = max(taken, self.passed[-DRAIN])
        self.passed.append(max(taken + DRAIN, self.passed[-1] + 1, self.scores[-REQUANTIZE]))
        self.scores.append(
            max(self.passed[-1] + REQUANTIZE, self.scores[-1] + 1, works if real else 0)
        )
        if real:
            self.scored = self.scores[-1]
        return taken

    def _context(self, taken):
        taken = max(taken, self.passed[-DRAIN])
        self.passed.append(max(taken + DRAIN, self.passed[-1] + 1, self.open))
        return taken
