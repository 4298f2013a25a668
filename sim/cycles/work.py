# SPDX-License-Identifier: Apache-2.0
"""What a run does, operation by operation, without simulating it (part of sim/cycles/model.py): what the sequencer selects."""

from dataclasses import dataclass

from firmware.image import parse_image
from firmware.isa import Opcode, Select

__all__ = ["Sentence", "Work", "executed", "of_golden", "of_record", "schedule"]


@dataclass(frozen=True)
class Sentence:
    """Token ids, segment ids, and for each layer until its exit the tokens that enter it and that its drop leaves."""

    ids: tuple
    segments: tuple
    entering: tuple
    live: tuple


@dataclass(frozen=True)
class Work:
    """One instruction as it runs.

    rows, slots : (first logical row, rows) of each selected slot, and the slots; empty where the operation is skipped
    layer : of the sentences selected by the last GROUP; total : rows before it
    admitted : sentences that ADMIT takes; refused : it looks at one more, for which there are too few rows
    ended : numbers in the queue of those that EXIT ends; leaving : their slots
    """

    pc: int
    rows: tuple
    slots: tuple
    layer: int
    total: int
    admitted: tuple = ()
    ended: tuple = ()
    refused: bool = False
    leaving: tuple = ()

    def tiles(self, values, lanes):
        """Numbers of the tiles of `lanes` rows that the instruction `values` goes through."""
        if values.get("cls"):
            return sorted({slot // lanes for slot in self.slots})
        return sorted(
            {row // lanes for first, count in self.rows for row in range(first, first + count)}
        )

    def height(self, tile, lanes):
        """Rows of a tile up to the last selected one."""
        return min(
            max(first + count for first, count in self.rows if first < (tile + 1) * lanes)
            - tile * lanes,
            lanes,
        )


def of_golden(words, result):
    """`Sentence` of (ids, segments) and their golden `Result`."""
    live = tuple(map(int, result.tokens_per_layer))
    return Sentence(tuple(words[0]), tuple(words[1]), (len(words[0]), *live[:-1]), live)


def of_record(words, record):
    """`Sentence` of (ids, segments) and their result record."""
    return Sentence(tuple(words[0]), tuple(words[1]), record.entering, record.live)


def schedule(program, sentences, slots=None):
    """[Work] of a queue with at most `slots` resident sentences, until ADMIT finds nothing more."""
    machine, pc = _Machine(program, list(enumerate(sentences)), slots), 0
    while pc is not None:
        pc = machine.step(pc)
    return machine.done


def executed(program, work):
    """Those of a `schedule` that are not skipped."""
    return [
        one for one in work if one.rows or program.instructions[one.pc]["opcode"] == Opcode.ADMIT
    ]


class _Machine:
    """The slot table and the sequencer's selections."""

    def __init__(self, program, queue, slots):
        self.program = program
        self.queue = queue
        self.config = program.hardware
        self.limit, self.layers = slots or self.config.slots, parse_image(program.image).layers
        self.order, self.sentence, self.number, self.layer, self.count = (
            [],
            {},
            {},
            {},
            {},
        )  # slots in the order of their rows; the rest by slot
        self.fresh = set()
        self.last = set()
        self.pending = set()
        self.group = set()
        self.group_layer = 0
        self.done = []

    def step(self, pc):
        values = self.program.instructions[pc]
        opcode = Opcode(values["opcode"])
        chosen = (
            sorted(self._selected(values))
            if opcode not in (Opcode.ADMIT, Opcode.GROUP, Opcode.LOOP)
            else []
        )
        total = sum(self.count.values())
        starts = {}
        at = 0
        for slot in self.order:
            starts[slot], at = at, at + self.count[slot]
        admitted = ()
        ended = ()
        leaving = ()
        refused = False
        following = pc + 1
        rows = tuple((starts[slot], self.count[slot]) for slot in chosen)
        if opcode == Opcode.ADMIT:
            admitted = self._admit(total)
            refused = bool(self.queue) and len(self.order) < self.limit
            following = pc + 1 if self.order else None
        elif opcode == Opcode.GROUP:
            following = pc + 1 if self._next_group() else values["target"]
        elif opcode == Opcode.LOOP:
            following = values["target"]
        elif opcode == Opcode.DROP:
            self.count |= {slot: self.sentence[slot].live[self.layer[slot]] for slot in chosen}
        elif opcode == Opcode.EXIT:
            leaving = self._exit(chosen)
            ended = tuple(self.number[slot] for slot in leaving)
        self.done.append(
            Work(
                pc, rows, tuple(chosen), self.group_layer, total, admitted, ended, refused, leaving
            )
        )
        return following

    def _selected(self, values):
        return {
            Select.ALL: set(self.order),
            Select.NEW: self.fresh,
            Select.GROUP: self.group,
            Select.LAST: self.last,
            Select.NOT_LAST: set(self.order) - self.last,
        }[Select(values["select"])] & set(self.order)

    def _admit(self, total):
        admitted = []
        self.fresh = set()
        while (
            self.queue
            and len(self.order) < self.limit
            and len(self.queue[0][1].ids) <= self.config.rows - total
        ):
            slot = min(set(range(self.config.slots)) - set(self.order))
            self.number[slot], sentence = self.queue.pop(0)
            self.order.append(slot)
            self.sentence[slot] = sentence
            self.layer[slot] = 0
            self.count[slot] = len(sentence.ids)
            self.fresh.add(slot)
            total += len(sentence.ids)
            admitted.append(sentence)
        self.pending = set(self.order)
        self.last = {slot for slot in self.order if self.layer[slot] + 1 == self.layers}
        return tuple(admitted)

    def _next_group(self):
        if not self.pending:
            return False
        self.group_layer = self.layer[min(self.pending)]
        self.group = {slot for slot in self.pending if self.layer[slot] == self.group_layer}
        self.pending -= self.group
        return True

    def _exit(self, chosen):
        leaving = []
        for slot in chosen:
            self.layer[slot] += 1
            if self.layer[slot] == len(self.sentence[slot].live):
                self.order.remove(slot)
                del self.count[slot]
                leaving.append(slot)
        return tuple(leaving)
