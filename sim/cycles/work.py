# SPDX-License-Identifier: Apache-2.0
"""What a run does, operation by operation, without simulating it (part of sim/cycles/model.py)."""

from dataclasses import dataclass

from firmware.image import parse_image
from firmware.isa import Opcode, Select
from golden_model.queue import Queue

__all__ = ["SentenceWork", "CycleWork", "executed", "of_golden", "of_record", "schedule"]

CONTROL = (Opcode.ADMIT, Opcode.GROUP, Opcode.LOOP)  # they work on no rows


@dataclass(frozen=True)
class SentenceWork:
    """Token ids and segment ids; for each layer until its exit, what enters it and what stays."""

    ids: tuple
    segments: tuple
    entering: tuple
    live: tuple


@dataclass(frozen=True)
class CycleWork:
    """One instruction as it runs.

    rows, slots : (first logical row, rows) of each selected slot, and the slots; empty where the
        operation is skipped
    layer : of the sentences selected by the last GROUP; total : rows before it
    admitted : sentences that ADMIT takes
    refused : it looks at one more, for which there are too few rows
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
    return SentenceWork(tuple(words[0]), tuple(words[1]), (len(words[0]), *live[:-1]), live)


def of_record(words, record):
    """`Sentence` of (ids, segments) and their result record."""
    return SentenceWork(tuple(words[0]), tuple(words[1]), record.entering, record.live)


def schedule(program, sentences, slots=None):
    """[Work] of a queue with at most `slots` resident sentences, until ADMIT finds nothing more."""
    machine, pc = _Machine(program, sentences, slots), 0
    while pc is not None:
        pc = machine.step(pc)
    return machine.done


def executed(program, work):
    """Those of a `schedule` that are not skipped."""
    return [
        one for one in work if one.rows or program.instructions[one.pc]["opcode"] == Opcode.ADMIT
    ]


class _Machine:
    """The queue, and what each instruction does to it."""

    def __init__(self, program, sentences, slots):
        config = program.hardware
        self.program = program
        self.sentences = sentences
        lengths = [len(sentence.ids) for sentence in sentences]
        layers = parse_image(program.image).layers
        self.queue = Queue(lengths, slots or config.slots, config.rows, layers)
        self.done = []

    def step(self, pc):
        """Run the instruction `pc`, add its `Work`; the next one's number, None at the end."""
        queue = self.queue
        values = self.program.instructions[pc]
        opcode = Opcode(values["opcode"])
        chosen = () if opcode in CONTROL else queue.selected(Select(values["select"]).name)
        starts = queue.starts()
        rows = tuple((starts[one.slot], one.rows) for one in chosen)
        slots = tuple(one.slot for one in chosen)
        total = queue.rows
        results = {}
        following = pc + 1
        if opcode == Opcode.ADMIT:
            admitted = tuple(self.sentences[one.number] for one in queue.admit())
            results = {"admitted": admitted, "refused": queue.refuses}
            following = pc + 1 if queue.residents else None
        elif opcode == Opcode.GROUP:
            following = pc + 1 if queue.next_group() else values["target"]
        elif opcode == Opcode.LOOP:
            following = values["target"]
        elif opcode == Opcode.DROP:
            for one in chosen:
                one.rows = self.sentences[one.number].live[one.layer]
        elif opcode == Opcode.EXIT:
            results = self._exit(chosen)
        self.done.append(CycleWork(pc, rows, slots, queue.group_layer, total, **results))
        return following

    def _exit(self, chosen):
        leaving = [one for one in chosen if one.layer + 1 == len(self.sentences[one.number].live)]
        self.queue.advance(chosen, leaving)
        return {
            "ended": tuple(one.number for one in leaving),
            "leaving": tuple(one.slot for one in leaving),
        }
