# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/program/prefetch.py: streams are asked for in their order and ahead.

Words go on with what the array must know of them.
"""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from hw.program.prefetch import STREAMS, Prefetch
from sim.bench import harness
from sim.bench.players import silence

BASE, SIZE = 0x4000, 0x8000


def streams(count):
    generator = random.Random(count)
    return [
        {
            "address": 32 * generator.randrange(200),
            "beats": generator.choice([1, 2, 9]),
            "reduction": generator.randrange(1, 64),
            "groups": generator.randrange(1, 40),
            "pc": number,
        }
        for number in range(count)
    ]


class Bench:
    """Plays the memory, and keeps what each word came with."""

    def __init__(self, dut, pause):
        block = Prefetch(harness.config())
        self.dut, (idle, stall) = dut, harness.pauses(pause)
        silence(dut, block)
        dut.base.value, dut.size.value = BASE, SIZE
        self.asked = harness.Source(dut, "i", block.i.payload.shape(), idle)
        self.words = harness.Source(
            dut, "words", block.words.payload.shape(), harness.pauses(pause, seed=3)[0]
        )
        self.requests = harness.Sink(dut, "o_request", block.o_request.payload.shape(), stall)
        self.out = harness.Sink(dut, "o", block.o.payload.shape(), harness.pauses(pause, seed=5)[1])
        self.with_them = []
        cocotb.start_soon(self._watch())

    async def _watch(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value == 0 and dut.o__valid.value == 1 and dut.o__ready.value == 1:
                self.with_them.append(
                    {
                        name: getattr(dut, name).value.to_unsigned()
                        for name in ("reduction", "groups", "pc")
                    }
                )

    async def expect(self, stream):
        """Its request."""
        (request,) = await self.requests.receive(1)
        harness.assert_same(
            "request",
            request,
            {
                "address": BASE + stream["address"],
                "words": stream["beats"],
                "base": BASE,
                "size": SIZE,
            },
        )

    def give(self, stream):
        words = [(stream["pc"] << 8) + number for number in range(stream["beats"])]
        self.words.send(
            [{"data": word, "last": number == len(words) - 1} for number, word in enumerate(words)]
        )
        return [{"data": word, "first": int(not number)} for number, word in enumerate(words)]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def in_order(dut, pause):
    """Streams come back in the order asked for, each word with the fields of its stream."""
    test, want = Bench(dut, pause), streams(12)
    await harness.start(dut, cycles=5_000)
    test.asked.send(want)
    for stream in want:
        await test.expect(stream)
        given = test.give(stream)
        harness.assert_same("words", await test.out.receive(stream["beats"]), given)
    assert test.requests.empty() and test.out.empty()
    harness.assert_same(
        "with them",
        test.with_them,
        [
            {name: stream[name] for name in ("reduction", "groups", "pc")}
            for stream in want
            for _ in range(stream["beats"])
        ],
    )


@cocotb.test()
async def ahead(dut):
    """Before a word has come, `STREAMS` streams are asked for, and no more."""
    test, want = Bench(dut, "none"), streams(STREAMS + 2)
    await harness.start(dut)
    test.asked.send(want)
    for stream in want[:STREAMS]:
        await test.expect(stream)
    for _ in range(30):
        await RisingEdge(dut.clk)
    assert test.requests.empty()
    given = test.give(want[0])
    harness.assert_same("words", await test.out.receive(want[0]["beats"]), given)
    await test.expect(want[STREAMS])


@pytest.mark.parametrize("bus_bits", [32, 128])
def test_prefetch(bus_bits):
    config = harness.small(bus_bits=bus_bits)
    harness.run_bench(
        Prefetch(config), "sim.bench.program.test_prefetch", f"prefetch_{bus_bits}", config=config
    )
