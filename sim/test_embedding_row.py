# SPDX-License-Identifier: Apache-2.0
"""hw/embedding_row.py: rows of an embedding image, whole and damaged; the reader of the port is Python."""
import random
import struct

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from firmware.image import HEADER_BYTES, build_embedding, parse_embedding
from firmware.registers import Error
from hw.dma import bus_word, request
from hw.embedding_row import RowReader
from hw.loader import embedding_layout
from sim import bench
from sim.engine import pulse, pulses, quiet

BASE, WORDS, POSITIONS = 0x60, 9, 3


class Port:
    """Plays the reader: the bus words of a request one after the other, or nothing but `error` for those in `failing`."""

    def __init__(self, dut, config, pause):
        self.dut, self.config, self.memory, self.queue, self.requests, self.failing = dut, config, b"", [], [], {}
        self.idle, self.stall = bench.pauses(pause)
        cocotb.start_soon(self._run())

    def _take(self):
        one = bench.read(self.dut, "o_request__payload", request())
        self.requests.append(one)
        step = self.config.bus_bytes
        for i in range(one["words"]):
            at = one["address"] + i * step - BASE
            word = int.from_bytes(self.memory[at:at + step], "little")
            self.queue.append((bench.pack(bus_word(self.config), {"data": word, "last": int(i == one["words"] - 1)}), at))

    async def _run(self):
        dut, offered = self.dut, False
        while True:
            await RisingEdge(dut.clk)
            if offered and dut.i_data__ready.value == 1:
                self.queue.pop(0)
                offered = False
            if dut.o_request__ready.value == 1 and dut.o_request__valid.value == 1:
                self._take()
            offered = offered and bool(self.queue)
            if self.queue and not offered and not (self.idle and next(self.idle)):
                error = next((code for at, code in self.failing.items() if 0 <= at - self.queue[0][1] < self.config.bus_bytes), 0)
                dut.i_error.value, offered = int(error), not error
                dut.i_data__payload.value = self.queue[0][0]
            dut.i_data__valid.value = int(offered)
            dut.o_request__ready.value = int(not self.queue and not (self.stall and next(self.stall)))

    def abort(self):
        self.queue.clear()
        self.failing = {}
        self.dut.i_error.value = 0


class Bench:
    def __init__(self, dut, pause):
        self.dut, self.config, generator = dut, bench.config(), random.Random(16)
        block, width = RowReader(self.config), self.config.embedding
        tables = [[[generator.getrandbits(8) if generator.random() < density else 0 for _ in range(width)]
                   for density in (0, 1, 0.5, 0.1, 0.9, 0.3, 0.5, 1, 0)[:rows]] for rows in (WORDS, POSITIONS, 2)]
        self.codes, self.image = sum(tables, []), build_embedding(*tables)
        self.parsed = parse_embedding(self.image)
        quiet(dut, block)
        self.port = Port(dut, self.config, pause)
        self.features = pulses(dut, "code_valid", "feature", block.feature.shape())
        self.values = pulses(dut, "code_valid", "code", block.code.shape())
        self.ends = pulses(dut, "done", "status", block.status.shape())
        dut.base.value, dut.size.value = BASE, len(self.image)
        bench.drive(dut, "table", embedding_layout(), {"vocabulary": WORDS, "positions": POSITIONS, "width": width, "table_offset": HEADER_BYTES})

    async def read(self, number, image=None, failing=None):
        """The status of a row, whose features are in `features` and `values`."""
        self.port.memory, self.port.failing = image or self.image, failing or {}
        for found in (self.features, self.values, self.ends):
            found.clear()
        self.dut.number.value = number
        await pulse(self.dut, "start")
        while not self.ends:
            await RisingEdge(self.dut.clk)
        status, = self.ends
        if status:
            self.port.abort()
        await RisingEdge(self.dut.clk)
        return status

    async def good(self, number):
        assert await self.read(number) == 0
        width = self.config.embedding
        bench.assert_same(f"features of {number}", self.features, list(range(width)))
        bench.assert_same(f"codes of {number}", self.values, self.codes[number])
        assert not self.port.queue, "words are left over"


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def rows(dut, pause):
    test = Bench(dut, pause)
    await bench.start(dut, 20_000)
    for number in range(len(test.codes)):
        await test.good(number)
    step = test.config.bus_bytes
    assert all(one["address"] % step == 0 and (one["base"], one["size"]) == (BASE, len(test.image)) for one in test.port.requests)


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def damaged(dut, pause):
    """A row table that points anywhere, a wrong byte: the row fails, the next one is whole."""
    test = Bench(dut, pause)
    await bench.start(dut, 20_000)
    number = 4
    entry, (start, end) = HEADER_BYTES + 4 * number, test.parsed.offsets[number:number + 2]
    changes = [(entry, value) for value in (start + 2, end, end + 4, 0, 0xFFFFFFFC)]
    changes += [(entry + 4, value) for value in (start, start - 4, end - 4, 0x80000000, len(test.image) + 4)]
    for at, value in changes:
        image = bytearray(test.image)
        struct.pack_into("<I", image, at, value)
        assert await test.read(number, bytes(image)) == Error.SENTENCE_CHECK, f"{value:#x} at {at}"
        await test.good(number)
    image, last, size = bytearray(test.image), len(test.codes) - 1, len(test.image)
    struct.pack_into("<2I", image, HEADER_BYTES + 4 * last, size - 4, size + 4)
    test.port.requests.clear()
    assert await test.read(last, bytes(image)) == Error.SENTENCE_CHECK
    assert all(one["address"] + one["words"] * test.config.bus_bytes <= BASE + size for one in test.port.requests), "beyond the image"
    present = "embedding_check" in test.config.units
    for at in (start + 2, start + 5):   # codes
        image = bytearray(test.image)
        image[at] ^= 0x41
        assert await test.read(number, bytes(image)) == (Error.SENTENCE_CHECK if present else 0)
        await test.good(number)


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def failing(dut, pause):
    """The port's errors, in the row table, at the row's begin and at its end; outside the window is the image's fault."""
    test = Bench(dut, pause)
    await bench.start(dut, 20_000)
    number = 7
    for at in (HEADER_BYTES + 4 * number, test.parsed.offsets[number], test.parsed.offsets[number + 1] - 4):
        for code, want in ((Error.READ_SLVERR, Error.EMBEDDING_BUS), (Error.READ_DECERR, Error.EMBEDDING_BUS),
                           (Error.WINDOW, Error.SENTENCE_CHECK)):
            assert await test.read(number, failing={at: code}) == want, f"{code.name} at {at}"
            await test.good(number)


CONFIGS = {"32": bench.small(embedding=32), "128": bench.small(embedding=18, bus_bits=128), "unchecked": bench.small(bus_bits=64, units=())}


@pytest.mark.parametrize("name", CONFIGS)
def test_embedding_row(name):
    bench.run(RowReader(CONFIGS[name]), "sim.test_embedding_row", f"embedding_row_{name}", config=CONFIGS[name])
