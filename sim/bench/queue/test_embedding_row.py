# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/queue/embedding_table.py and hw/queue/embedding_row.py: rows of an image.

They are whole and damaged; the reader of the port is Python.
"""

import itertools
import random
import struct

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import RisingEdge

from firmware.embedding_image import build_embedding, parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, transfer_layout
from hw.queue.embedding_row import RowDecoder
from hw.queue.embedding_table import RowFetcher
from sim.bench import harness
from sim.bench.players import pulses, silence

BASE, WORDS, POSITIONS = 0x60, 9, 3


class Rows(wiring.Component):
    """Fetcher and decoder as the embedder joins them."""

    def __init__(self, config):
        self.fetcher, self.decoder = RowFetcher(config), RowDecoder(config)
        ports = {
            name: self.fetcher.signature.members[name]
            for name in ("base", "size", "table", "i", "o_request", "i_data", "idle")
        }
        super().__init__(
            {
                **ports,
                **{
                    name: Out(self.decoder.signature.members[name].shape)
                    for name in ("code_valid", "feature", "code", "done", "status")
                },
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetcher, m.submodules.decoder = fetcher, decoder = self.fetcher, self.decoder
        for name in ("i", "o_request", "i_data"):
            wiring.connect(m, getattr(fetcher, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, fetcher.o, decoder.i)
        wiring.connect(m, fetcher.o_row, decoder.i_row)
        m.d.comb += [
            getattr(fetcher, name).eq(getattr(self, name)) for name in ("base", "size", "table")
        ]
        m.d.comb += [
            getattr(self, name).eq(getattr(decoder, name))
            for name in ("code_valid", "feature", "code", "done", "status")
        ]
        m.d.comb += [
            self.idle.eq(fetcher.idle),
            decoder.width.eq(self.table.width),
        ]
        return m


class Port:
    """Plays the reader: the bus words of the requests one after the other.

    Each request `latency` cycles after it was taken.
    """

    def __init__(self, dut, config, pause, latency=0):
        self.dut = dut
        self.config = config
        self.memory = b""
        self.queue = []
        self.requests = []
        self.latency = latency
        self.idle, self.stall = harness.pauses(pause)
        self.cycle = 0
        cocotb.start_soon(self._run())

    def _take(self):
        one = harness.read_port(self.dut, "o_request__payload", transfer_layout())
        self.requests.append(one)
        step = self.config.bus_bytes
        for i in range(one["words"]):
            at = one["address"] + i * step - BASE
            word = int.from_bytes(self.memory[at : at + step], "little")
            self.queue.append(
                (
                    harness.pack(
                        bus_word(self.config), {"data": word, "last": int(i == one["words"] - 1)}
                    ),
                    self.cycle + self.latency,
                )
            )

    async def _run(self):
        """Take requests and offer the next word that is due, both with pauses, cycle by cycle."""
        dut, offered = self.dut, False
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            if offered and dut.i_data__ready.value == 1:
                self.queue.pop(0)
                offered = False
            if dut.o_request__ready.value == 1 and dut.o_request__valid.value == 1:
                self._take()
            if (
                self.queue
                and not offered
                and self.queue[0][1] <= self.cycle
                and not (self.idle and next(self.idle))
            ):
                offered = True
                dut.i_data__payload.value = self.queue[0][0]
            dut.i_data__valid.value = int(offered)
            dut.o_request__ready.value = int(not (self.stall and next(self.stall)))


class Bench:
    def __init__(self, dut, pause, latency=0):
        self.dut = dut
        self.config = harness.config()
        generator = random.Random(16)
        block, width = Rows(self.config), self.config.embedding
        tables = [
            [
                [
                    generator.getrandbits(8) if generator.random() < density else 0
                    for _ in range(width)
                ]
                for density in (0, 1, 0.5, 0.1, 0.9, 0.3, 0.5, 1, 0)[:rows]
            ]
            for rows in (WORDS, POSITIONS, 2)
        ]
        self.codes, self.image = sum(tables, []), build_embedding(*tables)
        self.parsed = parse_embedding(self.image)
        silence(dut, block)
        self.port = Port(dut, self.config, pause, latency)
        self.source = harness.Source(dut, "i", 32, harness.pauses(pause, 5)[0])
        self.features = pulses(dut, "code_valid", "feature", block.feature.shape())
        self.values = pulses(dut, "code_valid", "code", block.code.shape())
        self.ends = pulses(dut, "done", "status", block.status.shape())
        dut.base.value, dut.size.value = BASE, len(self.image)
        harness.drive(
            dut,
            "table",
            embedding_layout(),
            {
                "vocabulary": WORDS,
                "positions": POSITIONS,
                "width": width,
                "table_offset": HEADER_BYTES,
            },
        )

    async def read(self, numbers, image=None):
        """The statuses of some rows, whose features are in `features` and `values`."""
        self.port.memory = image or self.image
        for found in (self.features, self.values, self.ends):
            found.clear()
        self.source.send(numbers)
        while len(self.ends) < len(numbers):
            await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)
        assert self.dut.idle.value == 1 and not self.port.queue, "words are left over"
        return list(self.ends)

    async def good(self, *numbers):
        assert await self.read(numbers) == [0] * len(numbers)
        width = self.config.embedding
        harness.assert_same(
            f"features of {numbers}", self.features, len(numbers) * list(range(width))
        )
        harness.assert_same(
            f"codes of {numbers}", self.values, sum((self.codes[number] for number in numbers), [])
        )


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def rows(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut, 20_000)
    await test.good(*range(len(test.codes)))
    await test.good(3)
    step = test.config.bus_bytes
    assert all(
        one["address"] % step == 0 and (one["base"], one["size"]) == (BASE, len(test.image))
        for one in test.port.requests
    )


@cocotb.test()
async def slow(dut):
    """Words that come slower than they are decoded: each byte of a row is waited for."""
    test = Bench(dut, "none")
    test.port.idle = itertools.cycle([True] * 9 + [False])
    await harness.start(dut, 20_000)
    await test.good(*range(len(test.codes)))


@cocotb.test()
async def latency(dut):
    """The latency of the port shows once, not twice for every row."""
    test = Bench(dut, "none", latency=60)
    await harness.start(dut, 20_000)
    width = test.config.embedding
    await test.good(*[1] * 12)
    begin = test.port.cycle
    await test.good(*[1] * 12)
    assert test.port.cycle - begin < 3 * 60 + 12 * (width + width // 8 + 12), (
        test.port.cycle - begin
    )


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def damaged(dut, pause):
    """A row table that points anywhere, a wrong byte.

    The row fails, the ones beside it are whole.
    """
    test = Bench(dut, pause)
    await harness.start(dut, 40_000)
    number = 4
    entry, (start, end) = HEADER_BYTES + 4 * number, test.parsed.offsets[number : number + 2]
    changes = [(entry, value) for value in (start + 2, end, end + 4, 0, 0xFFFFFFFC)]
    changes += [
        (entry + 4, value) for value in (start, start - 4, end - 4, 0x80000000, len(test.image) + 4)
    ]
    for at, value in changes:
        image = bytearray(test.image)
        struct.pack_into("<I", image, at, value)
        assert await test.read([1, number, 7], bytes(image)) == [0, Error.SENTENCE_CHECK, 0], (
            f"{value:#x} at {at}"
        )
        assert (
            test.values[: len(test.codes[1])] == test.codes[1]
            and test.values[-len(test.codes[7]) :] == test.codes[7]
        )
    image = bytearray(test.image)
    last = len(test.codes) - 1
    size = len(test.image)
    struct.pack_into("<2I", image, HEADER_BYTES + 4 * last, size - 4, size + 4)
    test.port.requests.clear()
    assert await test.read([last], bytes(image)) == [Error.SENTENCE_CHECK]
    assert all(
        one["address"] + one["words"] * test.config.bus_bytes <= BASE + size
        for one in test.port.requests
    ), "beyond the image"
    present = "embedding_check" in test.config.units
    for at in (start + 2, start + 5):  # codes
        image = bytearray(test.image)
        image[at] ^= 0x41
        assert await test.read([number, 7], bytes(image)) == [
            Error.SENTENCE_CHECK if present else 0,
            0,
        ]


@cocotb.test()
async def cut(dut):
    """A row that ends after any of its words is refused, and the next one is whole."""
    test = Bench(dut, "none")
    await harness.start(dut, 60_000)
    for number in range(len(test.codes) - 1):
        start, end = test.parsed.offsets[number : number + 2]
        for early in range(start + 4, end, 4):
            image = bytearray(test.image)
            struct.pack_into("<I", image, HEADER_BYTES + 4 * (number + 1), early)
            statuses = await test.read([number], bytes(image))
            assert statuses == [Error.SENTENCE_CHECK], f"row {number} of {early - start} bytes"
    await test.good(0, 1)


CONFIGS = {
    "32": harness.small(embedding=32),
    "128": harness.small(embedding=18, bus_bits=128),
    "unchecked": harness.small(bus_bits=64, units=()),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_embedding_row(name):
    harness.run_bench(
        Rows(CONFIGS[name]),
        "sim.bench.queue.test_embedding_row",
        f"embedding_row_{name}",
        config=CONFIGS[name],
    )
