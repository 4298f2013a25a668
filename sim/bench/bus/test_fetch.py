# SPDX-License-Identifier: Apache-2.0
"""hw/bus/fetch.py: the bus words that are asked for, and the words of the run among them.

The reader is Python.
"""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles

from hw.bus.fetch import Fetch, words_layout
from hw.bus.transfer import bus_word, transfer_layout
from sim.bench import harness

BASE, SIZE = 0x2000, 0x800


def runs(bus, count=20):
    """(address, words) of runs.

    Every place in a bus word, one word, whole bus words, the end of the address space, random ones.
    """
    generator = random.Random(bus)
    for skip in range(bus // 4):
        for words in {1, bus // 4 - skip, bus // 4, bus // 4 + 1, 9}:
            yield BASE + 4 * skip, words
    yield 2**32 - 4, 1
    for _ in range(count):
        yield BASE + 4 * generator.randrange(400), generator.randint(1, 60)


def content(address):
    return address * 2654435761 % 2**32


def asked(bus, address, words):
    """The request for a run, and its bus words."""
    first, end = address // bus, -(-(address + 4 * words) // bus)
    beats = [
        {
            "data": sum(content(number * bus + i) << 8 * i for i in range(0, bus, 4)),
            "last": int(number == end - 1),
        }
        for number in range(first, end)
    ]
    return {"address": first * bus, "words": len(beats), "base": BASE, "size": SIZE}, beats


class Bench:
    def __init__(self, dut, pause):
        self.bus = harness.config().bus_bytes
        idle, stall = harness.pauses(pause)
        self.source = harness.Source(dut, "i", words_layout(), idle)
        self.sink = harness.Sink(dut, "o", Fetch(harness.config()).o.payload.shape(), stall)
        idle, stall = harness.pauses(pause, seed=5)
        self.requests = harness.Sink(dut, "o_request", transfer_layout(), stall)
        self.data = harness.Source(dut, "data", bus_word(harness.config()), idle)

    def send(self, address, words):
        self.source.send([{"address": address, "words": words, "base": BASE, "size": SIZE}])

    async def run(self, address, words):
        self.send(address, words)
        want, beats = asked(self.bus, address, words)
        harness.assert_same(f"request {address:#x} {words}", await self.requests.receive(1), [want])
        self.data.send(beats)
        harness.assert_same(
            f"run {address:#x} {words}",
            await self.sink.receive(words),
            [content(address + 4 * i) for i in range(words)],
        )
        await self.data.wait()

    def empty(self):
        return self.sink.empty() and self.requests.empty()


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def fetch(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut, 20_000)
    for address, words in runs(test.bus):
        await test.run(address, words)
        if pause == "none" and words > 1:
            assert test.sink.cycles[-1] - test.sink.cycles[-words] == words - 1, (
                "not one word a cycle"
            )
    assert test.empty()


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def nothing(dut, pause):
    """A run of no words asks for nothing, and the next one follows."""
    test = Bench(dut, pause)
    await harness.start(dut, 20_000)
    for _ in range(3):
        test.send(BASE + 4, 0)
    await test.source.wait()
    await ClockCycles(dut.clk, 40)
    assert test.empty()
    await test.run(BASE + 8, 3)


@cocotb.test()
async def abandoned(dut):
    """The longest run, of which the reader gives only a part, as after an error.

    A reset, and the next run is whole.
    """
    test = Bench(dut, "none")
    await harness.start(dut, 20_000)
    address, words = BASE + test.bus - 4, 2**16 - 1
    test.send(address, words)
    want, beats = asked(test.bus, address, words)
    harness.assert_same("request", await test.requests.receive(1), [want])
    test.data.send(beats[:5])
    await test.data.wait()
    await ClockCycles(dut.clk, 40)
    given = 5 * test.bus // 4 - (test.bus // 4 - 1)
    harness.assert_same(
        "words", await test.sink.receive(given), [content(address + 4 * i) for i in range(given)]
    )
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await test.run(BASE, 7)
    assert test.empty()


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_fetch(bits):
    config = harness.small(bus_bits=bits)
    harness.run_bench(Fetch(config), "sim.bench.bus.test_fetch", f"fetch_{bits}", config=config)
