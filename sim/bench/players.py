# SPDX-License-Identifier: Apache-2.0
"""What the benches of engines share: instructions, slot tables, pulses, and played neighbors."""

import cocotb
import numpy as np
from amaranth.lib.wiring import In
from cocotb.triggers import RisingEdge

from firmware import isa
from firmware.record import RECORD
from golden_model.config import NEVER
from golden_model.hardware import ceil_div
from hw.queue.record import Field
from sim.bench import harness

__all__ = [
    "RowPositions",
    "SlotRecord",
    "WordPlayer",
    "instruction_bits",
    "pulse",
    "pulses",
    "silence",
    "rows_of",
    "slot_table",
    "tiles_of",
    "until",
]


def instruction_bits(**values):
    """The 256 bits of an instruction."""
    return sum(word << 32 * i for i, word in enumerate(isa.pack(**values)))


def slot_table(config, *slots):
    """Resident slots with contiguous rows.

    slots : of each its count of rows, or a dict with `count` and other fields, or None: free
    """
    table = []
    start = 0
    for slot in (*slots, *[None] * (config.slots - len(slots))):
        fields = slot if isinstance(slot, dict) else {"count": slot or 0}
        table.append({"resident": int(slot is not None), "start": start, **fields})
        start += fields["count"]
    return table


def rows_of(table, mask):
    """Logical rows of the slots in `mask`."""
    return {
        row
        for i, slot in enumerate(table)
        if mask >> i & 1
        for row in range(slot["start"], slot["start"] + slot["count"])
    }


def tiles_of(config, rows):
    """[(tile, live lanes)] of logical rows, in order."""
    t = config.tokens
    lanes = {}
    for row in sorted(rows):
        lanes[row // t] = lanes.get(row // t, 0) | 1 << row % t
    return list(lanes.items())


def silence(dut, component):
    """Drive every input of the component to 0, so that nothing is undefined."""
    for path, member, _ in component.signature.flatten(component):
        if (
            member.flow == In
            and (port := getattr(dut, "__".join(map(str, path)), None)) is not None
        ):
            port.value = 0


async def pulse(dut, name, value=1):
    """`value` for one cycle."""
    getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    getattr(dut, name).value = 0


async def until(dut, name):
    """The next cycle in which the output `name` is 1."""
    while True:
        await RisingEdge(dut.clk)
        if getattr(dut, name).value == 1:
            return


def pulses(dut, valid, name=None, shape=None):
    """A list that fills, in each cycle in which `valid` is 1, with the payload `name`, or a one."""
    found = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value == 0 and getattr(dut, valid).value == 1:
                found.append(harness.read_port(dut, name, shape) if name else 1)

    cocotb.start_soon(watch())
    return found


class SlotRecord:
    """What `RecordMemory` keeps for one slot, from BEGIN with `tag` on: words written by field.

    words : of RECORD, without the positions' bytes; dropped : those
    """

    def __init__(self, config, tag):
        self.words = [0] * RECORD.words(config)
        self["TAG"] = tag
        self.dropped = [NEVER] * (4 * ceil_div(config.positions, 4))
        self._arrays = {
            field: RECORD.word(name, config)
            for field, name in (
                (Field.LOGIT, "LOGITS"),
                (Field.ENTROPY, "ENTROPIES"),
                (Field.TOKENS, "TOKENS_PER_LAYER"),
                (Field.DROPPED, "DROPPED_AT_LAYER"),
            )
        }

    def __getitem__(self, name):
        return self.words[RECORD.word(name)]

    def __setitem__(self, name, value):
        self.words[RECORD.word(name)] = value

    def write(self, field, number, data):
        """Like a write of the block: `field` is a `Field`, `number` its index."""
        if field == Field.DROPPED:
            self.dropped[number] = data % 256
        else:
            self.words[self._arrays.get(field, 0) + number] = data

    def read(self):
        """All words, as the block sends them."""
        dropped = np.array(self.dropped, "u1").view("<u4").tolist()
        first = self._arrays[Field.DROPPED]
        return self.words[:first] + dropped + self.words[first + len(dropped) :]


class WordPlayer:
    """Plays a buffer: answers requests {"address", "count"} with the words `read(address)`.

    asked : (address, count) of the requests so far
    """

    def __init__(self, dut, component, name, read, pause="none", words=None):
        idle, stall = harness.pauses(pause, seed=len(name))
        words = words or f"{name}_words"
        self.asked = []
        self._read = read
        self._requests = harness.Sink(
            dut, f"{name}_request", getattr(component, f"{name}_request").payload.shape(), stall
        )
        self._words = harness.Source(dut, words, getattr(component, words).payload.shape(), idle)
        cocotb.start_soon(self._run())

    async def _run(self):
        while True:
            (request,) = await self._requests.receive(1)
            self.asked.append((request["address"], request["count"]))
            self._words.send(
                [
                    {
                        "values": self._read(request["address"] + i),
                        "last": int(i == request["count"] - 1),
                    }
                    for i in range(request["count"])
                ]
            )


class RowPositions:
    """Plays the row table's read port: the entry follows its address by one cycle."""

    def __init__(self, dut, **ports):
        self._dut, self._ports = dut, ports  # input port: entries by row
        cocotb.start_soon(self._run())

    async def _run(self):
        while True:
            await RisingEdge(self._dut.clk)
            address = self._dut.row_address.value
            for port, entries in self._ports.items():
                row = address.to_unsigned() if address.is_resolvable else 0
                getattr(self._dut, port).value = entries[min(row, len(entries) - 1)]
