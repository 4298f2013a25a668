# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Pipeline, queues, registers and the bench: every word passes, in order, whatever stalls."""

import random

import cocotb
import pytest
from amaranth import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import FallingEdge, RisingEdge

from hw.stream import Fifo, Pipeline, RegisterSlice, Skid, connect, cycles
from sim.bench import harness

STAGES = 2
WORD = data.StructLayout({"values": data.ArrayLayout(signed(16), 3), "meta": 5})


class Negate(wiring.Component):
    """-values, in `STAGES` stages."""

    i: In(stream.Signature(WORD))
    o: Out(stream.Signature(WORD))
    accepted: Out(1)

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        m.d.comb += self.accepted.eq(pipeline.accepted)
        word = pipeline.stage(payload=self.i.payload)
        for _ in range(STAGES - 1):
            word = pipeline.stage(payload=word.payload)
        pipeline.output(
            self.o.payload.meta.eq(word.payload.meta),
            *(self.o.payload.values[n].eq(-word.payload.values[n]) for n in range(3)),
        )
        return m


def words(count):
    generator = random.Random(count)
    return [
        {
            "values": [generator.randint(-32767, 32767) for _ in range(3)],
            "meta": generator.randrange(32),
        }
        for _ in range(count)
    ]


def moves(dut, name):
    """Whether a word of the stream `name` moves in this cycle."""
    return getattr(dut, f"{name}__valid").value == 1 and getattr(dut, f"{name}__ready").value == 1


async def passed(dut, pause, latency, count=100):
    """What becomes of `count` words; the first comes `latency` cycles after it went in."""
    idle, stall = harness.pauses(pause)
    source, sink = harness.Source(dut, "i", WORD, idle), harness.Sink(dut, "o", WORD, stall)
    await harness.start(dut)
    source.send(words(count))
    got = await sink.receive(count)
    if pause == "none":
        assert sink.cycles[-1] - sink.cycles[0] == count - 1, "not one word a cycle"
        assert sink.cycles[0] - source.cycles[0] == latency
    assert sink.empty()
    return got


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def negate(dut, pause):
    want = [{"values": [-x for x in word["values"]], "meta": word["meta"]} for word in words(100)]
    harness.assert_same("negate", await passed(dut, pause, STAGES), want)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def accepted(dut, pause):
    """`accepted` says in which cycles a word enters."""

    async def watch():
        await FallingEdge(dut.rst)
        while True:
            await RisingEdge(dut.clk)
            assert dut.accepted.value == moves(dut, "i")

    cocotb.start_soon(watch())
    await passed(dut, pause, STAGES)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def queue(dut, pause):
    depth = harness.parameters()["depth"]

    async def watch():
        """`level` is what is inside."""
        held = 0
        await FallingEdge(dut.rst)
        while True:
            await RisingEdge(dut.clk)
            assert dut.level.value == held
            held += moves(dut, "i") - moves(dut, "o")

    cocotb.start_soon(watch())
    harness.assert_same("queue", await passed(dut, pause, cycles(depth)), words(100))


def test_pipeline():
    harness.run_bench(Negate(), "sim.bench.test_stream", "pipeline", only="(negate|accepted)")


@pytest.mark.parametrize("depth", [2, 40])
def test_fifo(depth):
    harness.run_bench(
        Fifo(WORD, depth), "sim.bench.test_stream", f"fifo_{depth}", only="queue", depth=depth
    )


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def register(dut, pause):
    harness.assert_same("register", await passed(dut, pause, 1), words(100))


@pytest.mark.parametrize("kind", [RegisterSlice, Skid])
def test_registers(kind):
    name = kind.__name__.lower()
    harness.run_bench(kind(WORD), "sim.bench.test_stream", name, only="register")


def test_connect_compares_shapes():
    fifo = Fifo(signed(16), 2), Fifo(16, 2)
    with pytest.raises(TypeError, match="Interfaces must have flipped signatures, not "):
        connect(Module(), fifo[0].o, fifo[1].i)
