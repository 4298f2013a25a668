# SPDX-License-Identifier: Apache-2.0
"""hw/bus/loader.py: a good pair of images loads and gives its constants.

Every damage gives the code that firmware/image.py gives.
"""

import random
import struct
import zlib

import cocotb
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.constants import constant_count, memory_words
from firmware.embedding_image import EMBEDDING_OFFSET, build_embedding, parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER, ImageError, Layout, build_image, parse_image
from firmware.image_match import check_image
from firmware.isa import CAPACITY
from firmware.registers import VERSION
from hw.bus import axi
from hw.bus.dma import Reader
from hw.bus.headers import constant_layout, embedding_layout, image_layout
from hw.bus.loader import Loader
from hw.stream import connect
from sim.bench import harness
from sim.bench.memory import AxiResp, BenchMemory

BASE, EMBEDDING_BASE = 0x2000, 0x100040
SIZES = {"vocabulary": 20, "positions": 8, "embedding_width": 16}


class Harness(wiring.Component):
    """The loader with a reader on each port."""

    def __init__(self, config):
        self._config, self._loader = config, Loader(config)
        ports = {
            name: member
            for name, member in self._loader.signature.members.items()
            if not name.startswith(("i_", "o_")) or name == "o_constant"
        }
        self._direct = [*ports]
        bus = axi.read_signature(config.bus_bits)
        super().__init__(
            {**ports, **axi.flat("m_axi", bus), **axi.flat("m_axi_emb", bus), "idle": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = self._loader
        m.submodules.reader = reader = Reader(self._config)
        m.submodules.embedding_reader = embedding = Reader(self._config)
        m.d.comb += [
            reader.abort.eq(self.abort),
            embedding.abort.eq(self.abort),
            self.idle.eq(reader.idle & embedding.idle),
            loader.i_error.eq(reader.error),
            loader.i_embedding_error.eq(embedding.error),
        ]
        for a, b in (
            (loader.o_request, reader.i_request),
            (reader.o, loader.i_data),
            (loader.o_embedding_request, embedding.i_request),
            (embedding.o, loader.i_embedding_data),
        ):
            connect(m, a, b)
        axi.attach(m, self, "m_axi", reader.bus)
        axi.attach(m, self, "m_axi_emb", embedding.bus)
        for name in self._direct:
            if name != "o_constant":
                inner, outer = getattr(loader, name), getattr(self, name)
                m.d.comb += (
                    outer.eq(inner) if self.signature.members[name].flow == Out else inner.eq(outer)
                )
        wiring.connect(m, wiring.flipped(self.o_constant), loader.o_constant)
        return m


def embedding_image():
    generator = random.Random(1)
    table = [
        [generator.choice([0, generator.randrange(256)]) for _ in range(16)] for _ in range(30)
    ]
    return build_embedding(table[:20], table[20:28], table[28:])


def images(config, seed=21, instructions=3, **changes):
    """A small image and the embedding image that it names."""
    embedding = embedding_image()
    generator = random.Random(seed)
    words = [generator.getrandbits(32) for _ in range(constant_count(config))]
    layout = Layout(instructions, len(words), (64, 96))
    header = {
        "config_hash": config.config_hash,
        "embedding_hash": parse_embedding(embedding).hash,
        "exit_threshold": 0x1ABCD,
        "units": config.unit_bits,
        "layers": 3,
        "classes": 2,
        "heads": 1,
        **SIZES,
        **changes,
    }
    program = [[generator.getrandbits(32) for _ in range(8)] for _ in range(instructions)]
    return build_image(
        layout, program, words, [generator.randbytes(64), generator.randbytes(96)], **header
    ), embedding


def changed(image, word, value):
    """The image with a header word changed and its CRC made right again."""
    image = bytearray(image)
    struct.pack_into("<I", image, 4 * word, value)
    return bytes(image[:-4]) + struct.pack("<I", zlib.crc32(image[:-4]))


def changed_embedding(image, name, value):
    image = bytearray(image)
    struct.pack_into("<I", image, EMBEDDING_OFFSET[name], value)
    struct.pack_into("<I", image, 60, zlib.crc32(image[:60]))
    return bytes(image)


def flipped(image, bit):
    image = bytearray(image)
    image[bit // 8] ^= 1 << bit % 8
    return bytes(image)


def software(config, image, embedding):
    """The code that firmware/image.py gives."""
    try:
        check_image(parse_image(image), config, parse_embedding(embedding))
    except ImageError as error:
        return error.error
    return Error.NONE


class Bench:
    def __init__(self, dut, pause="none", stall=None):
        self.dut, self.config = dut, harness.config()
        self.sink = harness.Sink(
            dut, "o_constant", constant_layout(), pause=harness.pauses(pause)[1]
        )
        self.memory, self.embedding = BenchMemory(0x2000, BASE), BenchMemory(0x2000, EMBEDDING_BASE)
        self.memory.serve_read(dut, "m_axi", stall)
        self.embedding.serve_read(dut, "m_axi_emb", stall and stall + 5)
        self.codes = {}
        for name in ("start", "abort"):
            getattr(dut, name).value = 0

    async def load(self, image, embedding, size=None, embedding_size=None, base=BASE):
        """The error with which a load ends."""
        dut = self.dut
        self.memory.load(BASE, image)
        self.embedding.load(EMBEDDING_BASE, embedding)
        dut.image_base.value, dut.image_size.value = base, len(image) if size is None else size
        dut.embedding_base.value = EMBEDDING_BASE
        dut.embedding_size.value = len(embedding) if embedding_size is None else embedding_size
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        while dut.done.value != 1:
            await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        code = Error(dut.error.value.to_unsigned())
        assert dut.busy.value == 0 and bool(dut.loaded.value) == (code == Error.NONE), code
        if code == Error.IMAGE_SECTION:
            # The constants come as they are read; nothing runs on them, as nothing is loaded.
            await self.sink.receive(constant_count(self.config))
        elif code != Error.NONE:
            await ClockCycles(dut.clk, 5)
            assert self.sink.empty(), "a constant came out of a refused image"
        return code

    async def expect(self, code, *arguments, **values):
        got = await self.load(*arguments, **values)
        assert got == code, f"got {got!r}, want {code!r}"
        if code != Error.NONE:
            await self.abort()

    async def abort(self):
        self.dut.abort.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.abort.value = 0
        await ClockCycles(self.dut.clk, 2)
        while self.dut.idle.value != 1:
            await RisingEdge(self.dut.clk)

    async def good(self, seed=21):
        """A good load, and what it must hand out."""
        image, embedding = images(self.config, seed)
        await self.expect(Error.NONE, image, embedding)
        want, parsed = parse_image(image), parse_embedding(embedding)
        places = (
            (memory, index)
            for memory, count in memory_words(self.config).items()
            for index in range(count)
        )
        constants = [
            {"memory": memory, "index": index, "data": word}
            for (memory, index), word in zip(places, want.constant_words, strict=True)
        ]
        harness.assert_same("constants", await self.sink.receive(len(constants)), constants)
        assert self.sink.empty()
        fields = {name: getattr(want, name) for name in image_layout().members}
        harness.assert_same("image", harness.read_port(self.dut, "image", image_layout()), fields)
        fields = {
            "vocabulary": parsed.vocabulary,
            "positions": parsed.positions,
            "width": parsed.width,
            "table_offset": 64,
        }
        harness.assert_same(
            "embedding", harness.read_port(self.dut, "embedding", embedding_layout()), fields
        )


@cocotb.test()
@cocotb.parametrize(pause=["none", "stall"], stall=[None, 7])
async def good(dut, pause, stall):
    tb = Bench(dut, pause, stall)
    await harness.start(dut)
    for seed in range(3):
        await tb.good(seed)
    assert not tb.memory.strays and not tb.embedding.strays


@cocotb.test()
async def damaged(dut):
    """Wrong header words, unknown units and flipped bits end with firmware/image.py's code."""
    tb = Bench(dut)
    await harness.start(dut)
    image, embedding = images(tb.config)
    hardware = tb.config
    for word, value in (
        (0, 5),
        (1, VERSION - 1),
        (2, hardware.config_hash ^ 1),
        (3, 77),
        (4, len(image) - 32),
        (4, len(image) + 32),
        (4, 0),
        (5, 68),
        (5, len(image)),
        (5, 0xFFFFFFE0),
        (6, 0x7FFFFFF),
        (7, 4),
        (8, 0xFFFFFFFF),
        (8, len(image)),
        (9, 4 | 2 << 8 | 1 << 16),
        (9, 3 | 5 << 8 | 1 << 16),
        (9, 3 | 2 << 8 | 3 << 16),
        (10, 17),
        (10, 1 << 16),
        (10, 9),
        (11, 21),
        (14, 17),
        (14, 15),
        (14, 32),
    ):
        bad = changed(image, word, value)
        code = software(hardware, bad, embedding)
        assert code != Error.NONE, f"{list(HEADER)[word]} = {value}"
        await tb.expect(code, bad, embedding)
    for needs in (1 << 6, 1 << 31):  # units that are not invented yet
        await tb.expect(Error.IMAGE_UNITS, changed(image, 13, needs), embedding)
    # A constant that is right by the image's CRC alone.
    bad = changed(image, parse_image(image).constants_offset // 4, 0x55)
    assert software(hardware, bad, embedding) == Error.IMAGE_SECTION
    await tb.expect(Error.IMAGE_SECTION, bad, embedding)
    generator = random.Random(6)
    for bit in (
        8 * len(image) - 1,
        8 * len(image) - 32,
        *(generator.randrange(512, 8 * len(image)) for _ in range(6)),
    ):
        await tb.expect(Error.IMAGE_CRC, flipped(image, bit), embedding)
    for bit in range(0, 512, 29):
        bad = flipped(image, bit)
        await tb.expect(software(hardware, bad, embedding), bad, embedding)
    await tb.good()


@cocotb.test()
async def damaged_embedding(dut):
    """A wrong header word, hash or header bit is refused; a good pair still loads behind them."""
    tb = Bench(dut)
    await harness.start(dut)
    image, embedding = images(tb.config)
    for name, value in (
        ("magic", 5),
        ("version", VERSION + 1),
        ("length", len(embedding) + 32),
        ("vocabulary", 19),
        ("positions", 9),
        ("width", 17),
    ):
        await tb.expect(
            Error.EMBEDDING_HEADER,
            image,
            changed_embedding(embedding, name, value),
        )
    await tb.expect(Error.EMBEDDING_HASH, image, changed_embedding(embedding, "hash", 5))
    for bit in range(0, 512, 37):
        await tb.expect(Error.EMBEDDING_HEADER, image, flipped(embedding, bit))
    await tb.good()


@cocotb.test()
async def units(dut):
    tb = Bench(dut)
    await harness.start(dut)
    for bit in range(6):
        image, embedding = images(tb.config, units=1 << bit)
        await tb.expect(software(tb.config, image, embedding), image, embedding)
        await tb.sink.receive(tb.sink.level)


@cocotb.test()
async def longest_program(dut):
    tb = Bench(dut)
    await harness.start(dut)
    for instructions, code in ((CAPACITY, Error.NONE), (CAPACITY + 1, Error.IMAGE_MODEL)):
        image, embedding = images(tb.config, 1, instructions)
        assert software(tb.config, image, embedding) == code
        await tb.expect(code, image, embedding)
        await tb.sink.receive(tb.sink.level)


@cocotb.test()
async def truncated(dut):
    tb = Bench(dut)
    await harness.start(dut)
    image, embedding = images(tb.config)
    for size in (0, 32, 60, 64, 68, len(image) - 32, len(image) + 32):
        await tb.expect(Error.IMAGE_LENGTH, image, embedding, size=size)
    await tb.expect(Error.IMAGE_LENGTH, changed(image, 4, 64), embedding, size=64)
    for size in (0, 32, 60, 64, len(embedding) - 32):
        await tb.expect(Error.EMBEDDING_HEADER, image, embedding, embedding_size=size)
    for base in (BASE + 1, 0xFFFFFFE0):
        await tb.expect(Error.WINDOW, image, embedding, base=base)
    await tb.good()
    assert not tb.memory.strays and not tb.embedding.strays


@cocotb.test()
@cocotb.parametrize(response=[int(AxiResp.SLVERR), int(AxiResp.DECERR)], stall=[None, 7])
async def failing_bus(dut, response, stall):
    tb = Bench(dut, stall=stall)
    await harness.start(dut)
    image, embedding = images(tb.config)
    code = Error.READ_SLVERR if response == AxiResp.SLVERR else Error.READ_DECERR
    for offset in (0, 48, 64, 112, len(image) - 16):
        tb.memory.faults = {BASE + offset: AxiResp(response)}
        await tb.expect(code, image, embedding)
    tb.memory.faults = {}
    for offset in (0, 48):
        tb.embedding.faults = {EMBEDDING_BASE + offset: AxiResp(response)}
        await tb.expect(Error.EMBEDDING_BUS, image, embedding)
    tb.embedding.faults = {}
    await tb.good()


@cocotb.test()
async def aborted(dut):
    tb = Bench(dut)
    await harness.start(dut)
    image, embedding = images(tb.config)
    for cycles in range(2, 120, 11):
        dut.start.value = 1
        tb.memory.load(BASE, image)
        dut.image_base.value, dut.image_size.value = BASE, len(image)
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await ClockCycles(dut.clk, cycles)
        await tb.abort()
        assert dut.busy.value == 0 and dut.loaded.value == 0
        await tb.sink.receive(tb.sink.level)
    await tb.good()


@pytest.mark.parametrize("bits", [32, 128])
def test_loader(bits):
    config = harness.small(bus_bits=bits)
    harness.run_bench(Harness(config), "sim.bench.bus.test_loader", f"loader_{bits}", config=config)


def test_loader_without_units():
    config = harness.small(units=frozenset({"exit"}))
    harness.run_bench(
        Harness(config), "sim.bench.bus.test_loader", "loader_units", config=config, only="units"
    )
