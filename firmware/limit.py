# SPDX-License-Identifier: Apache-2.0
"""What an operation takes at least, from its program."""

from dataclasses import dataclass

import numpy as np

from firmware.isa import Opcode, Select
from golden_model.hardware import ceil_div

__all__ = ["Limit", "limit"]


@dataclass(frozen=True)
class Limit:
    """Lower limits of one operation, in cycles, and what the array's schedule makes of its columns.

    compute : non-zeros x tiles / P (ATTEND: dense, per slot and live head)
    memory : its weights over the bus, once
    schedule : compute with every group as long as its longest column, which is what
        `Columns.cycles` knows
    """

    pc: int
    name: str
    select: Select
    tiles: int
    nonzeros: float
    compute: float
    schedule: float
    memory_bytes: int
    memory: float


def limit(program, lengths, slots=None):
    """[Limit] of the weight operations and ATTEND of one pass.

    lengths : live tokens of each resident sentence

    Predictor operations count one group, with the layers' mean of non-zeros; operations on new,
    last or not last sentences count all of them: take what applies by `Limit.select`.
    """
    hardware = program.hardware
    rows, slots = sum(lengths), len(lengths) if slots is None else slots
    result = []
    for pc, (values, symbol) in enumerate(zip(program.instructions, program.symbols, strict=True)):
        name = symbol.tensor.removeprefix("layer{l}.") if symbol else ""
        if values["opcode"] == Opcode.LINEAR:
            tiles = ceil_div(slots if values.get("cls") else rows, hardware.tokens)
            columns = program.columns[pc]
            nonzeros = float(np.mean([packed.nonzeros.sum() for packed in columns]))
            schedule = float(np.mean([packed.cycles for packed in columns])) * tiles
            size = values["beats"] * hardware.bus_bytes
            result.append(
                Limit(
                    pc,
                    name,
                    Select(values["select"]),
                    tiles,
                    nonzeros,
                    nonzeros * tiles / hardware.columns,
                    schedule,
                    size,
                    float(values["beats"]),
                )
            )
        if values["opcode"] == Opcode.ATTEND:
            tiles = sum(ceil_div(n, hardware.tokens) for n in lengths)
            pairs = sum(ceil_div(n, hardware.tokens) * n for n in lengths)  # query tiles x keys
            work = 2 * pairs * values["reduction"] * values["groups"] / hardware.columns
            groups = sum(
                ceil_div(n, hardware.tokens)
                * (
                    ceil_div(n, hardware.columns) * values["reduction"]
                    + ceil_div(values["reduction"], hardware.columns) * n
                )
                for n in lengths
            )
            result.append(
                Limit(
                    pc, name, Select.ALL, tiles, 0.0, work, float(groups * values["groups"]), 0, 0.0
                )
            )
    return result
