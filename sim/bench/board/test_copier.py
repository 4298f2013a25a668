# SPDX-License-Identifier: Apache-2.0
"""hw/board/copier.py: images of all sizes, and headers that are none."""

import random

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from firmware.store import EMBEDDING_AT, MAGIC, STORE_AT, STORE_BYTES, Store
from hw.board.copier import ImageCopier
from sim.bench import harness
from sim.bench.board.word_memory import WordMemory
from sim.bench.players import silence

RUN = STORE_BYTES // 4  # words
LARGEST = EMBEDDING_AT - STORE_AT - STORE_BYTES
GOOD_SIZES = (0, 32, 64, 32 * 20)
BAD_SIZES = (LARGEST + 1, LARGEST + 32, 1 << 23, (1 << 23) + 32, (1 << 31) + 64, (1 << 32) - 32)
NO_MARKS = (0, 0xFFFFFFFF, MAGIC ^ 1, MAGIC ^ 1 << 31, MAGIC ^ 1 << 16)


def header(size, mark=MAGIC):
    """The words of a header that says `size`; behind them whatever lies there."""
    return [mark, size, MAGIC, *range(3, RUN)]


class Flash:
    """The flash, whose store has these words, and the memory, which fails now and then.

    runs : (address, words) that were asked for
    """

    def __init__(self, dut, words, pause="none"):
        block = ImageCopier()
        idle, stall = harness.pauses(pause)
        silence(dut, block)
        self.dut = dut
        self.runs = []
        self._words = words
        self._flash = harness.Sink(dut, "flash", block.flash.payload.shape(), stall)
        self._source = harness.Source(dut, "words", block.words.payload.shape(), idle)
        self.memory = WordMemory(dut, block, self._answer, harness.pauses(pause, 9)[1])
        cocotb.start_soon(self._serve())

    def _answer(self, access):
        """Nobody looks at it: what is not written right is the loader's to find."""
        return {"data": ~access["data"] & 0xFFFFFFFF, "error": access["address"] >> 3 & 1}

    def word(self, number):
        """Of the store: what was given, and then words that are not each other's."""
        return self._words[number] if number < len(self._words) else number * 0x01010101

    async def _serve(self):
        while True:
            (run,) = await self._flash.receive(1)
            count = run["length"] + 1
            self.runs.append((run["address"], count))
            first = (run["address"] - STORE_AT) // 4
            self._source.send(
                [{"data": self.word(first + i), "last": int(i == count - 1)} for i in range(count)]
            )

    def written(self, count):
        """What the memory should have seen after so many words."""
        return [
            {"write": 1, "address": 4 * number, "data": self.word(number)}
            for number in range(count)
        ]

    async def check(self, bytes_copied):
        """It is busy until so many bytes are copied, run by run, and then does nothing."""
        dut = self.dut
        assert dut.busy.value == 1, "not busy from the start on"
        await FallingEdge(dut.busy)
        count = -(-bytes_copied // STORE_BYTES) * RUN
        for _ in range(2):
            harness.assert_same("words", self.memory.seen, self.written(count))
            runs = [(STORE_AT + 4 * first, RUN) for first in range(0, count, RUN)]
            harness.assert_same("runs", self.runs, runs)
            await ClockCycles(dut.clk, 50)
            assert dut.busy.value == 0


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES, size=GOOD_SIZES)
async def images(dut, pause, size):
    """Header and image, each word once and in its place."""
    image = random.Random(size).randbytes(size)
    if size:
        store = Store.of(image, bytes(32)).to_bytes() + image
        words = [int.from_bytes(store[i : i + 4], "little") for i in range(0, len(store), 4)]
    else:
        words = header(0)
    test = Flash(dut, words, pause)
    await harness.start(dut)
    await test.check(STORE_BYTES + size)


@cocotb.test()
@cocotb.parametrize(size=(1, 4, 33))
async def parts_of_runs(dut, size):
    """A size that no store has: the runs that it begins are copied."""
    test = Flash(dut, header(size))
    await harness.start(dut)
    await test.check(STORE_BYTES + size)


@cocotb.test()
@cocotb.parametrize(words=[header(size) for size in BAD_SIZES] + [header(64, m) for m in NO_MARKS])
async def headers(dut, words):
    """One without its mark, or with a size beyond the largest, is copied alone."""
    test = Flash(dut, words)
    await harness.start(dut)
    await test.check(STORE_BYTES)


@cocotb.test()
async def again(dut):
    """A reset in the middle of a copy begins anew."""
    test = Flash(dut, header(32 * 9))
    await harness.start(dut)
    await ClockCycles(dut.clk, 120)
    count = len(test.memory.seen)
    harness.assert_same("words", test.memory.seen, test.written(count))
    assert dut.busy.value == 1 and 2 * RUN < count < 9 * RUN
    # The streams' ends begin anew as well: it asks for the header first.
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    assert dut.busy.value == 1 and dut.memory__valid.value == 0
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    asked = harness.read_port(dut, "flash__payload", ImageCopier().flash.payload.shape())
    assert dut.flash__valid.value == 1
    assert asked == {"address": STORE_AT, "length": RUN - 1}


@cocotb.test()
@cocotb.parametrize(size=(LARGEST, LARGEST - 1, 1 << 20, (1 << 16) - 32))
async def large(dut, size):
    """Up to the largest size it goes on behind the header: its first runs, since all take long."""
    test = Flash(dut, header(size))
    await harness.start(dut)
    await ClockCycles(dut.clk, 600)
    count = len(test.memory.seen)
    harness.assert_same("words", test.memory.seen, test.written(count))
    assert dut.busy.value == 1 and count > 8 * RUN


def test_copier():
    harness.run_bench(ImageCopier(), "sim.bench.board.test_copier", "copier")
