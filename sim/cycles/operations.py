# SPDX-License-Identifier: Apache-2.0
"""What an operation has to do, whoever tells its cycles: the co-simulation or the cycle model.

Limits are those of firmware/limit.py; an operation of a single sentence is one layer's, of a queue
one pass's.
"""

import functools
from dataclasses import dataclass

from firmware.isa import Opcode, Select
from firmware.limit import limit

__all__ = ["SIMULATED", "Ledger", "Measurement", "Operation", "operation_name"]

SIMULATED = "simulated"


@dataclass(frozen=True)
class Operation:
    """What one operation took, and the least that it could.

    rows, tokens : selected rows, and live tokens of all resident sentences
    macs : multiplications with a non-zero weight for a live token (attention: dense)
    compute : the least cycles for them by firmware/limit.py, whole tiles
    lanes : multiplications of the whole tiles, token lanes without a live token included
    weight_bytes : that must cross the bus; bytes : that did, on all ports
    embeds : it belongs to the admission of a sentence, not to a layer
    """

    name: str
    opcode: str
    layer: int
    rows: int
    tokens: int
    cycles: int
    counters: dict
    bytes: int
    macs: float
    lanes: float
    compute: float
    weight_bytes: int
    embeds: bool


@dataclass(frozen=True)
class Measurement:
    """One run. cycles: from the start of the queue to the end of its last operation.

    tokens, live : of each sentence; live after the drop of each layer until its exit
    latencies, ends : of each sentence, in cycles to its result: from its admission, and from the
        start of the queue
    source : who told the cycles
    simulated, seconds, peak_memory_mb : of a simulation; cycles with the loading of images
    """

    operations: list
    cycles: int
    tokens: list
    live: list
    latencies: list
    ends: list
    source: str = SIMULATED
    simulated: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0

    @property
    def exit_layers(self):
        """Of each sentence, from 1."""
        return [len(live) for live in self.live]

    def to_json(self):
        return vars(self) | {"operations": [vars(one) for one in self.operations]}

    @classmethod
    def from_json(cls, value):
        return cls(
            **value | {"operations": [Operation(**operation) for operation in value["operations"]]}
        )


def operation_name(program, pc):
    """The tensor that it makes; a move that of its rows."""
    values, symbol = program.instructions[pc], program.symbols[pc]
    name = (
        symbol.tensor.removeprefix("layer{l}.") if symbol else Opcode(values["opcode"]).name.lower()
    )
    return (
        f"{name} move" if values["opcode"] == Opcode.NORM and not values.get("normalize") else name
    )


class Ledger:
    """Makes an `Operation` of each `Work` of a program."""

    def __init__(self, program):
        self.program = program
        self._bounds = functools.cache(
            lambda lengths: {bound.pc: bound for bound in limit(program, lengths)}
        )

    def operation(self, work, layer, cycles, counters, moved):
        """layer : the pass, counted from 0; moved : bytes on all ports."""
        values = self.program.instructions[work.pc]
        opcode = Opcode(values["opcode"])
        lengths = (
            tuple(len(sentence.ids) for sentence in work.admitted)
            if opcode == Opcode.ADMIT
            else tuple(count for _, count in work.rows)
        )
        rows = len(lengths) if values.get("cls") or opcode == Opcode.EXIT else sum(lengths)
        tokens = work.total + (rows if opcode == Opcode.ADMIT else 0)
        bound = self._bounds(lengths).get(work.pc)
        macs, lanes = self._products(opcode, values, work, bound)
        return Operation(
            operation_name(self.program, work.pc),
            opcode.name,
            layer,
            rows,
            tokens,
            cycles,
            counters,
            moved,
            macs,
            lanes,
            bound.compute if bound else 0,
            bound.memory_bytes if bound else 0,
            opcode == Opcode.ADMIT or values["select"] == Select.NEW,
        )

    def _products(self, opcode, values, work, bound):
        """(multiplications for live tokens, for all lanes of the tiles that hold them)."""
        lanes = self.program.hardware.tokens
        if opcode == Opcode.LINEAR:
            rows = len(work.rows) if values.get("cls") else sum(count for _, count in work.rows)
            return bound.nonzeros * rows, bound.nonzeros * lanes * len(work.tiles(values, lanes))
        if opcode == Opcode.ATTEND:
            each = 2 * values["reduction"] * values["groups"]
            tiles = [
                (first + count - 1) // lanes - first // lanes + 1 for first, count in work.rows
            ]
            return (
                each * sum(count * count for _, count in work.rows),
                each
                * lanes
                * sum(number * count for number, (_, count) in zip(tiles, work.rows, strict=True)),
            )
        return 0, 0
