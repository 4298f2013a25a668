# SPDX-License-Identifier: Apache-2.0
"""The simulated run that the timing pictures show, cut into operations."""

from bisect import bisect, bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from firmware.compiler import compile_network
from firmware.isa import Opcode
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from hw.array.column import Kind
from sim.cosim.build import build
from sim.cosim.session import Session
from sim.cycles.operations import operation_name
from sim.pictures.probe import Watched, points

__all__ = ["TOKENS", "PicturedOperation", "PicturedRun", "PicturedTurn", "simulate_picture"]

MODEL, CONFIG = "nano", "ci"
TOKENS = 8  # of the only sentence: two tiles
DENSITY = 0.5  # of the weights
ITEM = ("slot", "head", "tile")
COMMAND = ("free", "groups", "lanes", "kind")


@dataclass(frozen=True)
class PicturedOperation:
    """One operation of a run: its name (as in sim/cycles/operations.py), opcode and three cycles.

    taken : it has sent all its work and is the older one; None if it ended without
    """

    name: str
    pc: int
    opcode: Opcode
    start: int
    taken: int | None
    end: int


class PicturedTurn(NamedTuple):
    """What a command is about: a `tile`, or the scores (S) or the context (C) of an item."""

    kind: str
    number: int


class Command(NamedTuple):
    """A command of the array.

    operation, turn : number of its operation, and its part of it; entries : by lane
    free : then the bank of its tile is free
    """

    operation: int
    turn: PicturedTurn
    entries: list
    free: int

    @property
    def label(self):
        return self.operation, self.turn


@dataclass(frozen=True)
class PicturedRun:
    """A run of one sentence.

    program : the compiled network; operations : in their order
    events : records of each of `sim.pictures.probe.points` as arrays by field, and "cycle"
    """

    program: object
    operations: list
    events: dict

    def number(self, name, layer):
        """The number of the operation of this name in a layer, from 0."""
        return [i for i, one in enumerate(self.operations) if one.name == name][layer]

    def writes(self):
        """[(cycle, operation's number)] of the words that are written, in the program's order."""
        ends = [one.end for one in self.operations]
        return [
            (cycle, bisect_left(ends, cycle)) for cycle in self.events["write"]["cycle"].tolist()
        ]

    @cached_property
    def commands(self):
        """[`Command`] of all operations, in the order in which the array takes them."""
        records = self.events["command"]
        items = zip(*(records[name].tolist() for name in ITEM), strict=True)
        fields = (records[name].tolist() for name in COMMAND)
        found = zip(*fields, items, strict=True)
        commands = []
        for number, operation in enumerate(self.operations):
            if operation.opcode == Opcode.LINEAR:
                commands += self._linear_commands(number, operation, found)
            elif operation.opcode == Opcode.ATTEND:
                commands += self._attend_commands(number, operation, found)
        if next(found, None) is not None:
            raise ValueError("Commands must be those of the operations, there are more")
        return commands

    def _linear_commands(self, number, operation, found):
        """One for each block and tile: each lane takes its columns' entries."""
        values = self.program.instructions[operation.pc]
        (columns,) = self.program.columns[operation.pc]  # nothing has weights for each layer here
        entries = np.maximum(columns.nonzeros, 1)
        tiles = 1 if values.get("cls") else -(-TOKENS // self.program.hardware.tokens)
        for begin in range(0, len(entries), values["block"]):
            each = entries[begin : begin + values["block"]].sum(axis=0).tolist()
            for tile, (free, *_) in zip(range(tiles), found, strict=False):
                yield Command(number, PicturedTurn("tile", tile), each, free)

    def _attend_commands(self, number, operation, found):
        """Of each item's turns: each chosen lane takes the head's features, or the keys."""
        values = self.program.instructions[operation.pc]
        head = values["reduction"]
        items = []
        left = 2 * values["groups"] * -(-TOKENS // self.program.hardware.tokens)  # turns
        while left:
            free, groups, lanes, kind, item = next(found)
            if item not in items:
                items.append(item)
            score = kind == Kind.SCORE.value
            each = (head if score else TOKENS) * groups
            chosen = range(self.program.hardware.columns)
            entries = [each * (lanes >> lane & 1) for lane in chosen]
            yield Command(
                number, PicturedTurn("S" if score else "C", items.index(item)), entries, free
            )
            left -= free

    def lanes(self):
        """[(cycle, operation's number, `Turn`)] of every multiplication, by lane.

        What a lane does follows from the commands: the counts must be those of the run.
        """
        records = self.events["lanes"]
        work = []
        for lane in range(self.program.hardware.columns):
            cycles = records["cycle"][records["lanes"] >> lane & 1 == 1].tolist()
            labels = [label for one in self.commands for label in [one.label] * one.entries[lane]]
            work.append(_joined(cycles, labels))
        return work

    def loads(self):
        """The same of every word that a bank gets: it serves the commands up to one that frees."""
        ends = self.events["load"]["last"].tolist()
        users = [one.label for one in self.commands if one.free]
        number = [0, *accumulate(ends)][:-1]
        return _joined(self.events["load"]["cycle"].tolist(), [users[i] for i in number])

    def columns(self):
        """The same of every column that leaves the array."""
        ends = self.events["column"]["last"].tolist()
        number = [0, *accumulate(ends)][:-1]
        labels = [self.commands[i].label for i in number]
        return _joined(self.events["column"]["cycle"].tolist(), labels)

    def numerators(self):
        """The same of every word of numerators that leaves the softmax."""
        records = self.events["numerator"]
        operation = {one.start: i for i, one in enumerate(self.operations)}
        starts = sorted(operation)
        found = []
        for cycle, *item in zip(*(records[n].tolist() for n in ("cycle", *ITEM)), strict=True):
            number = operation[starts[bisect(starts, cycle) - 1]]
            found.append((cycle, number, tuple(item)))
        items = {}
        for _, number, item in found:
            items.setdefault(number, {}).setdefault(item, len(items[number]))
        return [
            (cycle, number, PicturedTurn("S", items[number][item])) for cycle, number, item in found
        ]


def _joined(cycles, labels):
    """[(cycle, *label)], as many of the one as of the other."""
    if len(cycles) != len(labels):
        raise ValueError(f"Run must have {len(labels)} such events, not {len(cycles)}")
    return [(cycle, *label) for cycle, label in zip(cycles, labels, strict=True)]


def simulate_picture():
    """A sentence of TOKENS tokens through a random nano on `ci`, nobody dropped -> Run."""
    config = HARDWARE[CONFIG]
    model = MODELS[MODEL]
    checkpoint = random_checkpoint(model, seed=1, density=DENSITY, eta=0.0, exit_threshold=0.0)
    program = compile_network(quantize(checkpoint, config.format), config)
    session = Session(
        build(config, Watched), config, points(config), program.image, program.embedding, 1
    )
    session.load()
    session.sim.take()
    session.queue(random_sentences(model, 1, 1, TOKENS, TOKENS))
    session.run()
    events = session.sim.take()
    return PicturedRun(program, _operations(program, events), events)


def _operations(program, events):
    """Operations by their starts and ends, which are in the same order."""
    ends = [
        (int(pc), int(cycle))
        for pc, cycle, skipped in zip(
            *(events["end"][key] for key in ("pc", "cycle", "skipped")), strict=True
        )
        if not skipped
    ]
    starts = events["start"]["cycle"].tolist()
    operations = []
    taken = events["taken"]["cycle"].tolist()
    for number, (start, (pc, end)) in enumerate(zip(starts, ends, strict=True)):
        sent = next((cycle for cycle in taken if start < cycle <= end), None)
        if sent is not None and number + 1 < len(starts) and sent > starts[number + 1]:
            sent = None
        operations.append(
            PicturedOperation(
                operation_name(program, pc),
                pc,
                Opcode(program.instructions[pc]["opcode"]),
                start,
                sent,
                end,
            )
        )
    return operations
