# SPDX-License-Identifier: Apache-2.0
"""hw/board/flash_port.py: bursts and runs of words at once, and bursts beyond the flash."""

import random

import cocotb
from cocotb.triggers import ClockCycles

from hw.board.flash_port import SIZE, FlashPort
from sim.bench import harness
from sim.bench.axi import AxiResp
from sim.bench.board.bus_streams import BusStreams
from sim.bench.players import silence

LONGEST = 256  # words of a run, beats of a burst
BURSTS = 1 << 20  # bursts of the random traffic begin here, its runs before


def word_at(address):
    """The flash's word at a byte address; no two that are near are equal."""
    return (address * 0x9E3779B1 ^ address >> 7) & 0xFFFFFFFF


def words_at(address, count):
    """What `o` gives of a run."""
    return [{"data": word_at(address + 4 * i), "last": int(i == count - 1)} for i in range(count)]


def beats_at(address, count):
    """What the bus gives of a burst: DECERR, and data that nobody looks at, beyond the flash."""
    if address >= SIZE:
        return [
            {"id": 0, "data": None, "resp": AxiResp.DECERR, "last": int(i == count - 1)}
            for i in range(count)
        ]
    return [{"id": 0, "resp": AxiResp.OKAY, **word} for word in words_at(address, count)]


class Flash:
    """The flash behind the port, and the two who read it.

    runs : (address, words) of the runs that the flash took
    """

    def __init__(self, dut, pause="none"):
        block = BusStreams(FlashPort())
        silence(dut, block)
        self.runs = []

        def shape(name):
            return getattr(block, name).payload.shape()

        def pauses(seed):
            return harness.pauses(pause, seed)

        self.i = harness.Source(dut, "i", shape("i"), pauses(1)[0])
        self.o = harness.Sink(dut, "o", shape("o"), pauses(1)[1])
        self.ar = harness.Source(dut, "ar", shape("ar"), pauses(3)[0])
        self.r = harness.Sink(dut, "r", shape("r"), pauses(3)[1])
        self.words = harness.Source(dut, "words", shape("words"), pauses(5)[0])
        # A run of words takes the place of a burst's that waits for the flash.
        self.run = harness.Sink(dut, "run", shape("run"), pauses(5)[1], steady=False)
        cocotb.start_soon(self._serve())

    async def _serve(self):
        while True:
            (run,) = await self.run.receive(1)
            assert self._all_taken(), "a run before the words of the one before were taken"
            self.runs.append((run["address"], run["length"] + 1))
            self.words.send(words_at(*self.runs[-1]))

    def _all_taken(self):
        return len(self.words.cycles) == sum(count for _, count in self.runs)

    def ask_words(self, *runs):
        self.i.send([{"address": address, "length": count - 1} for address, count in runs])

    def ask_beats(self, *bursts):
        self.ar.send([{"addr": address, "len": count - 1} for address, count in bursts])

    async def check_words(self, *runs):
        for address, count in runs:
            got = await self.o.receive(count)
            harness.assert_same(f"words at {address:#x}", got, words_at(address, count))

    async def check_beats(self, *bursts):
        for address, count in bursts:
            got = await self.r.receive(count)
            want = beats_at(address, count)
            for one, wanted in zip(got, want, strict=True):
                if wanted["data"] is None:
                    one["data"] = None
            harness.assert_same(f"beats at {address:#x}", got, want)

    async def nothing_more(self, dut):
        await ClockCycles(dut.clk, 20)
        assert self.o.empty() and self.r.empty(), "a word more"
        assert self._all_taken(), "a run that nobody asked for"


def traffic(count=40):
    """(runs, bursts) at random; all lengths, some bursts beyond the flash."""
    generator = random.Random(11)
    lengths = [1, 1, 2, 3, 8, 17, LONGEST]
    runs, bursts = [], []
    for _ in range(count):
        runs.append((4 * generator.randrange(BURSTS // 4 - LONGEST), generator.choice(lengths)))
        base = generator.choice([BURSTS, BURSTS, SIZE, 0xFFFFF000])
        bursts.append((base + 4 * generator.randrange(64), generator.choice(lengths)))
    return runs, bursts


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def both(dut, pause):
    """Each gets all of its words in its order, and nothing of the other's."""
    test = Flash(dut, pause)
    await harness.start(dut)
    runs, bursts = traffic()
    test.ask_words(*runs)
    test.ask_beats(*bursts)
    words = cocotb.start_soon(test.check_words(*runs))
    await test.check_beats(*bursts)
    await words
    await test.nothing_more(dut)
    assert [run for run in test.runs if run[0] < BURSTS] == runs
    inside = [burst for burst in bursts if burst[0] < SIZE]
    assert [run for run in test.runs if run[0] >= BURSTS] == inside


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def edges(dut, pause):
    """The flash's ends, and the first address beyond; the longest runs there, and odd addresses."""
    test = Flash(dut, pause)
    await harness.start(dut)
    bursts = [
        (0, 1),
        (SIZE - 4, 1),
        (SIZE, 1),
        (SIZE - 4 * LONGEST, LONGEST),
        (SIZE, LONGEST),
        (SIZE, 2),
        (0xFFFFFFFC, 1),
        (2 * SIZE, 3),
        (0, LONGEST),
    ]
    test.ask_beats(*bursts)
    await test.check_beats(*bursts)
    await test.nothing_more(dut)
    assert test.runs == [burst for burst in bursts if burst[0] < SIZE]
    runs = [(SIZE - 4, 1), (0, LONGEST), (0x1003, 2), (0xFFE, 1)]
    test.ask_words(*runs)
    await test.check_words(*runs)


@cocotb.test()
async def words_first(dut):
    """Of a run and a burst that wait the run is next; it does not break into a burst."""
    test = Flash(dut)
    await harness.start(dut)
    bursts = [(0x1000, 4), (0x2000, 1), (SIZE, 3), (0x3000, 2)]
    runs = [(0x100, 3), (0x200, 1)]
    test.r.hold = True
    test.ask_beats(*bursts)
    await ClockCycles(dut.clk, 10)
    test.ask_words(*runs)
    await ClockCycles(dut.clk, 10)
    assert test.runs == bursts[:1] and test.o.empty()
    test.r.hold = False
    await test.check_words(*runs)
    await test.check_beats(*bursts)
    assert test.runs == [bursts[0], *runs, bursts[1], bursts[3]]
    # A run goes before a burst that the flash has not taken; its words do not wait for the bus.
    test.run.hold = True
    await ClockCycles(dut.clk, 3)
    test.ask_beats(bursts[0])
    await ClockCycles(dut.clk, 5)
    test.ask_words(runs[0])
    await ClockCycles(dut.clk, 5)
    test.run.hold = False
    test.r.hold = True
    await test.check_words(runs[0])
    test.r.hold = False
    await test.check_beats(bursts[0])
    assert test.runs[-2:] == [runs[0], bursts[0]]


@cocotb.test()
async def latency(dut):
    """No cycle is lost between the flash and who reads; a refused burst has a beat a cycle."""
    test = Flash(dut)
    await harness.start(dut)
    run, burst, refused = (0x40, 20), (0x80, 20), (SIZE, 20)
    test.ask_words(run)
    await test.check_words(run)
    test.ask_beats(burst)
    await test.check_beats(burst)
    assert test.run.cycles == [test.i.cycles[0], test.ar.cycles[0]]
    assert test.words.cycles == test.o.cycles + test.r.cycles
    test.ask_beats(refused)
    await test.check_beats(refused)
    first = test.ar.cycles[1] + 1
    assert test.r.cycles[20:] == list(range(first, first + 20))


def test_flash_port():
    harness.run_bench(BusStreams(FlashPort()), "sim.bench.board.test_flash_port", "flash_port")
