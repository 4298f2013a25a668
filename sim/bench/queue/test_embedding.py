# SPDX-License-Identifier: Apache-2.0
"""hw/queue/embedding.py: the sums of golden_model/embedding.py from an embedding image.

A token has one status, whatever is wrong with it.
"""

import random
import struct

import cocotb
import pytest
import torch
from amaranth import signed
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.embedding_image import build_embedding, parse_embedding
from firmware.error_codes import Error
from golden_model.config import INT8, NumberFormat
from golden_model.embedding import embedding_sum
from golden_model.fixed import Saturations
from hw.bus.headers import embedding_layout
from hw.bus.transfer import bus_word, transfer_layout
from hw.queue.embedding import Embedder
from sim.bench import harness
from sim.bench.memory import AxiResp, BenchMemory
from sim.bench.players import pulses

BASE, WORDS, POSITIONS = 0x40, 24, 8
SHIFTS = {"mixed": (3, 1, 0), "large": (-6, -8, -5), "none": (31, 20, 31), "equal": (0, 0, 0)}


def tables(config, width):
    """(rows, width) codes of words, positions, segments.

    Some rows dense, some empty, most in between.
    """
    generator = random.Random(width)
    largest = 1 << config.format.bits

    def row(density):
        return [
            generator.randrange(largest) if generator.random() < density else 0
            for _ in range(width)
        ]

    def rows(count):
        return [row(generator.choice([0, 0.2, 0.5, 1])) for _ in range(count)]

    return rows(WORDS), rows(POSITIONS), rows(2)


class Bench:
    def __init__(self, dut, width=None, pause="none", stall=None):
        self.dut, self.config = dut, harness.config()
        block = Embedder(self.config)
        self.width = width or self.config.embedding
        self.tables = tables(self.config, self.width)
        self.image = build_embedding(*self.tables)
        idle, hold = harness.pauses(pause)
        self.source = harness.Source(dut, "i", block.i.payload.shape(), pause=idle)
        self.features = pulses(dut, "feature_valid", "feature", block.feature.shape())
        self.done = harness.Sink(dut, "o_done", block.o_done.payload.shape(), pause=hold)
        self.requests = harness.Source(dut, "i_request", transfer_layout())
        self.loaded = harness.Sink(dut, "o_data", bus_word(self.config))
        self.memory = BenchMemory(len(self.image), BASE)
        self.memory.load(BASE, self.image)
        self.memory.serve_read(dut, "bus_", stall)
        self.clamped = 0

    async def start(self, shifts="mixed"):
        """Reset with the image's table and the tables' `shifts`; then count saturations."""
        dut, parsed = self.dut, parse_embedding(self.image)
        dut.abort.value = 0
        dut.loading.value = 0
        dut.base.value = BASE
        dut.size.value = len(self.image)
        harness.drive(
            dut,
            "table",
            embedding_layout(),
            {
                "vocabulary": parsed.vocabulary,
                "positions": parsed.positions,
                "width": parsed.width,
                "table_offset": 64,
            },
        )
        self.shifts = SHIFTS[shifts]
        for name, shift in zip(("word", "position", "segment"), self.shifts, strict=True):
            harness.drive(dut, f"{name}_shift", signed(6), shift)
        await harness.start(dut)
        cocotb.start_soon(self._count())

    async def _count(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.clamped += self.dut.saturated.value == 1

    def expected(self, tokens):
        """(features, embed_sum's saturations) of [(token, segment, position, row)]."""
        word, position, segment = (torch.tensor(table) for table in self.tables)
        t, s, p, _ = (torch.tensor(column) for column in zip(*tokens, strict=True))
        saturations = Saturations()
        values = embedding_sum(
            word[t], position[p], segment[s], self.shifts, self.config.format, saturations
        ).tolist()
        return [
            {"row": row, "feature": j, "value": value, "last": int(j == self.width - 1)}
            for (_, _, _, row), line in zip(tokens, values, strict=True)
            for j, value in enumerate(line)
        ], saturations.count

    def send(self, tokens):
        self.source.send(
            [
                {"token": token | segment << 31, "position": position, "row": row}
                for token, segment, position, row in tokens
            ]
        )

    async def good(self, tokens):
        self.send(tokens)
        want, saturations = self.expected(tokens)
        before = self.clamped
        harness.assert_same(
            "done",
            await self.done.receive(len(tokens)),
            [{"row": row, "status": 0} for _, _, _, row in tokens],
        )
        harness.assert_same("features", self.features, want)
        self.features.clear()
        assert self.clamped - before == saturations, (
            f"saturated {self.clamped - before} times, want {saturations}"
        )

    async def bad(self, token, status, late=False):
        """A token that must fail with `status`.

        Only with its third row, `late`, it may have given features.
        """
        self.send([token])
        harness.assert_same(
            "done", await self.done.receive(1), [{"row": token[3], "status": status}]
        )
        assert late or not self.features
        self.features.clear()

    def patch(self, row, change):
        """`change(image, table offset, row offset)` of the image in memory; gives the last."""
        image = bytearray(self.image)
        entry = 64 + 4 * row
        change(image, entry, struct.unpack_from("<I", image, entry)[0])
        self.memory.load(BASE, image)


def some(count, seed=2):
    generator = random.Random(seed)
    corners = [(0, 0, 0, 0), (WORDS - 1, 1, POSITIONS - 1, 65535)]
    return corners + [
        (
            generator.randrange(WORDS),
            generator.randrange(2),
            generator.randrange(POSITIONS),
            generator.randrange(100),
        )
        for _ in range(count)
    ]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, stall=[None, 7])
async def sums(dut, pause, stall):
    tb = Bench(dut, pause=pause, stall=stall)
    await tb.start()
    await tb.good(some(3))
    assert not tb.memory.strays


@cocotb.test()
@cocotb.parametrize(shifts=list(SHIFTS))
async def every_row(dut, shifts):
    tb = Bench(dut, 16 if shifts == "equal" else None)  # narrower than the hardware's
    await tb.start(shifts)
    await tb.good([(word, word % 2, word % POSITIONS, word) for word in range(WORDS)])


@cocotb.test()
async def bad_tokens(dut):
    tb = Bench(dut)
    await tb.start()
    for token in (WORDS, WORDS + 1, 0x7FFFFFFF):
        await tb.bad((token, 1, 0, 9), Error.SENTENCE_TOKEN)
        assert not tb.memory.touched
    await tb.good(some(1))


@cocotb.test()
@cocotb.parametrize(stall=[None, 7])
async def damaged(dut, stall):
    """Bad offsets, sizes and bytes of rows end with SENTENCE_CHECK; a good token passes then."""
    tb = Bench(dut, stall=stall)
    await tb.start()
    generator = random.Random(3)
    parsed = parse_embedding(tb.image)
    failures = 0

    def put(image, entry, value):
        struct.pack_into("<I", image, entry, value)

    changes = [
        lambda image, entry, start: put(image, entry, start + 2),
        lambda image, entry, start: put(image, entry, 0xFFFFFFFC),
        lambda image, entry, start: put(image, entry, 0),
        lambda image, entry, start: put(image, entry + 4, start),
        lambda image, entry, start: put(image, entry + 4, start - 4),
        lambda image, entry, start: put(image, entry + 4, 0x80000000),
        lambda image, entry, start: image.__setitem__(slice(start, start + 2), b"\xff\xff"),
    ]
    for row, token in (
        (5, (5, 0, 3, 1)),
        (WORDS + 3, (5, 0, 3, 2)),
        (WORDS + POSITIONS + 1, (5, 1, 3, 3)),
    ):
        length = parsed.offsets[row + 1] - parsed.offsets[row]
        if "embedding_check" in tb.config.units:
            used = len(tb.image[parsed.offsets[row] : parsed.offsets[row + 1]].rstrip(b"\0")) or 1
            bits = [generator.randrange(8 * used) for _ in range(6)]
            changes += [
                lambda image, entry, start, bit=bit: image.__setitem__(
                    start + bit // 8, image[start + bit // 8] ^ 1 << bit % 8
                )
                for bit in bits
            ]
        for change in changes[:6] if length > 40 else changes:
            tb.patch(row, change)
            if bytes(tb.memory.data) != tb.image:
                await tb.bad(token, Error.SENTENCE_CHECK, late=row > WORDS + POSITIONS)
                failures += 1
        changes = changes[:7]
        tb.memory.load(BASE, tb.image)
        await tb.good([token])
    assert failures > 15 and not tb.memory.strays


@cocotb.test()
@cocotb.parametrize(response=[int(AxiResp.SLVERR), int(AxiResp.DECERR)], stall=[None, 7])
async def failing_bus(dut, response, stall):
    tb = Bench(dut, stall=stall)
    await tb.start()
    parsed = parse_embedding(tb.image)
    step = tb.config.bus_bytes
    token = (4, 1, 2, 8)
    for row in (4, WORDS + 2, WORDS + POSITIONS + 1):
        for offset in (64 + 4 * row, parsed.offsets[row], parsed.offsets[row + 1] - 4):
            tb.memory.faults = {BASE + offset - offset % step: AxiResp(response)}
            await tb.bad(token, Error.EMBEDDING_BUS, late=row > WORDS + POSITIONS)
    tb.memory.faults = {}
    await tb.good(some(1))


@cocotb.test()
async def bad_among_good(dut):
    """Tokens that follow each other closely.

    Each has its own status, and what fails leaves the others whole.
    """
    tb = Bench(dut)
    await tb.start()
    parsed, tokens = (
        parse_embedding(tb.image),
        [(3, 0, 0, 0), (5, 1, 1, 1), (WORDS, 0, 2, 2), (6, 0, 3, 3), (5, 0, 4, 4), (7, 1, 5, 5)],
    )
    image = bytearray(tb.image)
    struct.pack_into("<I", image, 64 + 4 * 5, parsed.offsets[5] + 2)
    tb.memory.load(BASE, image)
    tb.send(tokens)
    status = [0, Error.SENTENCE_CHECK, Error.SENTENCE_TOKEN, 0, Error.SENTENCE_CHECK, 0]
    harness.assert_same(
        "done",
        await tb.done.receive(len(tokens)),
        [{"row": row, "status": int(code)} for row, code in enumerate(status)],
    )
    harness.assert_same(
        "features",
        tb.features,
        tb.expected([token for token, code in zip(tokens, status, strict=True) if not code])[0],
    )
    tb.features.clear()
    tb.memory.load(BASE, tb.image)
    tb.memory.faults = {
        BASE + parsed.offsets[5] - parsed.offsets[5] % tb.config.bus_bytes: AxiResp.SLVERR
    }
    tb.send(tokens)
    found = [word["status"] for word in await tb.done.receive(len(tokens))]
    assert found[1] == Error.EMBEDDING_BUS and set(found) <= {
        0,
        Error.EMBEDDING_BUS,
        Error.SENTENCE_TOKEN,
    }, found
    tb.memory.faults = {}
    tb.features.clear()
    await tb.good(some(2))


@cocotb.test()
@cocotb.parametrize(row=[5, WORDS + 3, WORDS + POSITIONS + 1])
async def bad_behind_waiting(dut, row):
    """A row that is refused while those before it wait, since nobody takes the first token's end.

    The other tokens come out whole.
    """
    tb = Bench(dut, 16)
    await tb.start()
    tokens = [(3, 0, 0, 0), (8, 0, 1, 1), (5, 1, 3, 2), (9, 0, 5, 3)]
    tb.patch(row, lambda image, entry, start: struct.pack_into("<I", image, entry + 4, start))
    tb.done.hold = True
    tb.send(tokens)
    await ClockCycles(dut.clk, 400)
    tb.done.hold = False
    status = [0, 0, Error.SENTENCE_CHECK, 0]
    harness.assert_same(
        "done",
        await tb.done.receive(len(tokens)),
        [{"row": number, "status": int(code)} for number, code in enumerate(status)],
    )
    good = [token for token, code in zip(tokens, status, strict=True) if not code]
    found = [one for one in tb.features if one["row"] != 2]
    harness.assert_same("features", found, tb.expected(good)[0])


@cocotb.test()
@cocotb.parametrize(stall=[None, 7])
async def aborted(dut, stall):
    """After an abort 1 to 154 cycles into a token, the next token comes out whole.

    It is not idle while the memory owes it words.
    """
    tb = Bench(dut, stall=stall)
    await tb.start()
    for cycles in range(1, 160, 9):
        tb.send([(7, 1, 5, 3)])
        await tb.source.wait()
        await ClockCycles(dut.clk, cycles)
        dut.abort.value = 1
        await RisingEdge(dut.clk)
        dut.abort.value = 0
        await ClockCycles(dut.clk, 2)
        while dut.idle.value != 1:
            await RisingEdge(dut.clk)
        for _ in range(30):
            await RisingEdge(dut.clk)
            assert (dut.idle.value, dut.bus__rvalid.value) == (1, 0), "not idle"
        tb.features.clear()
        await tb.done.receive(tb.done.level)
        await tb.good([(8, 0, 1, 2)])


@cocotb.test()
async def loading(dut):
    tb = Bench(dut)
    await tb.start()
    dut.loading.value = 1
    step = tb.config.bus_bytes
    tb.requests.send([{"address": BASE, "words": 64 // step, "base": BASE, "size": len(tb.image)}])
    words = await tb.loaded.receive(64 // step)
    assert (
        b"".join(word["data"].to_bytes(step, "little") for word in words) == tb.image[:64]
        and words[-1]["last"]
    )
    dut.loading.value = 0
    await tb.good(some(1))


CONFIGS = {
    "32": harness.small(embedding=32),
    "128": harness.small(embedding=32, bus_bits=128),
    "256": harness.small(embedding=32, bus_bits=256),
    "int8": harness.small(embedding=32, format=INT8),
    "wide": harness.small(embedding=32, bus_bits=64, format=NumberFormat(8, 4)),
    "unchecked": harness.small(embedding=32, units=frozenset()),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_embedding(name):
    config = CONFIGS[name]
    only = {
        "256": "every_row",
        "int8": "every_row",
        "wide": "every_row",
        "unchecked": "damaged",
    }.get(name)
    harness.run_bench(
        Embedder(config),
        "sim.bench.queue.test_embedding",
        f"embedding_{name}",
        config=config,
        only=only,
    )
