# SPDX-License-Identifier: Apache-2.0
"""hw/board/memory_port.py: bursts of the bus and single words at once, and what lies beyond."""

import random
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import ClockCycles

from hw.board.memory_port import ON_THE_WAY, SIZE, MemoryPort
from sim.bench import harness
from sim.bench.axi import AxiResp
from sim.bench.board.bus_streams import BusStreams
from sim.bench.players import silence

LONGEST = 256  # beats of a burst
# Parts of the memory, so that what each traffic should find does not depend on the others.
SINGLES = 0  # single words
WRITTEN = 1 << 16  # bursts of writes, and of reads behind them
FILLED = 1 << 20  # bursts of reads


def filled(address):
    """What the memory holds from the beginning on."""
    return address * 0x9E3779B1 & 0xFFFFFFFF


def merged(old, new, strobe):
    """A word of which some bytes were written."""
    mask = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
    return old & ~mask | new & mask


@dataclass
class Contents:
    """Words by their byte address."""

    words: dict = field(default_factory=dict)

    def read(self, address, count=1):
        places = range(address, address + 4 * count, 4)
        return [self.words.get(place, filled(place)) for place in places]

    def write(self, address, data, strobe=0xF):
        self.words[address] = merged(self.read(address)[0], data, strobe)


class Users:
    """The memory behind the port, and who uses it.

    runs : (write, byte address, words) that the memory took
    """

    def __init__(self, dut, pause="none"):
        self.dut = dut
        self.runs = []
        self.memory = Contents()
        self._block = BusStreams(MemoryPort())
        self._pause = pause
        silence(dut, self._block)
        sources = (("i", 1), ("ar", 3), ("aw", 5), ("w", 7), ("words", 9))
        sinks = (("o", 1), ("r", 3), ("b", 5), ("data", 7))
        for name, seed in sources:
            setattr(self, name, self._player(harness.Source, name, harness.pauses(pause, seed)[0]))
        for name, seed in sinks:
            setattr(self, name, self._player(harness.Sink, name, harness.pauses(pause, seed)[1]))
        # What comes first takes the place of what waits for the memory.
        stall = harness.pauses(pause, 11)[1]
        self.run = self._player(harness.Sink, "run", stall, steady=False)
        cocotb.start_soon(self._serve())

    def _player(self, kind, name, pause, **values):
        return kind(self.dut, name, getattr(self._block, name).payload.shape(), pause, **values)

    async def _serve(self):
        """The memory: run by run."""
        while True:
            (run,) = await self.run.receive(1)
            address, count = 4 * run["address"], run["length"] + 1
            self.runs.append((run["write"], address, count))
            if run["write"]:
                for place, word in enumerate(await self.data.receive(count)):
                    self.memory.write(address + 4 * place, word["data"], word["strobe"])
            else:
                found = self.memory.read(address, count)
                self.words.send(
                    [{"data": word, "last": int(i == count - 1)} for i, word in enumerate(found)]
                )

    def ask(self, *accesses):
        """Single words: (write, address, data)."""
        self.i.send([{"write": w, "address": a, "data": d} for w, a, d in accesses])

    def ask_reads(self, *bursts):
        self.ar.send([{"addr": address, "len": count - 1} for address, count in bursts])

    def ask_write(self, address, words, strobes):
        """A burst, its address and its beats."""
        self.aw.send([{"addr": address, "len": len(words) - 1}])
        last = len(words) - 1
        pairs = enumerate(zip(words, strobes, strict=True))
        self.w.send([{"data": d, "strb": s, "last": int(i == last)} for i, (d, s) in pairs])

    async def check(self, *accesses):
        """Single words end one by one; their own writes are what they read."""
        contents = Contents()
        for write, address, data in accesses:
            (got,) = await self.o.receive(1)
            if address >= SIZE:
                assert got["error"] == 1, f"{address:#x}: no error"
                continue
            assert got["error"] == 0, f"{address:#x}: an error"
            if write:
                contents.write(address, data)
            else:
                harness.assert_same(f"{address:#x}", [got["data"]], contents.read(address))

    async def check_reads(self, contents, *bursts):
        """Beats in order, DECERR beyond the memory."""
        for address, count in bursts:
            got = await self.r.receive(count)
            good = address < SIZE
            data = contents.read(address, count) if good else [0] * count
            want = [
                {
                    "id": 0,
                    "data": word,
                    "resp": AxiResp.OKAY if good else AxiResp.DECERR,
                    "last": int(i == count - 1),
                }
                for i, word in enumerate(data)
            ]
            if not good:
                got = [{**beat, "data": 0} for beat in got]
            harness.assert_same(f"beats at {address:#x}", got, want)

    async def check_response(self, address):
        (got,) = await self.b.receive(1)
        assert got == {"id": 0, "resp": AxiResp.OKAY if address < SIZE else AxiResp.DECERR}

    async def quiet(self):
        """Nothing comes that was not asked for."""
        await ClockCycles(self.dut.clk, 30)
        for name in ("o", "r", "b", "data", "run"):
            assert getattr(self, name).empty(), f"{name}: a word more"
        count = sum(count for write, _, count in self.runs if not write)
        assert len(self.words.cycles) == count, "words that nobody took"


def single_words(generator, count):
    """(write, address, data) at random, some beyond the memory."""
    bases = [SINGLES, SINGLES, SINGLES, SIZE - 32, SIZE, 0xFFFFFFE0]
    return [
        (
            generator.getrandbits(1),
            generator.choice(bases) + 4 * generator.randrange(8),
            generator.getrandbits(32),
        )
        for _ in range(count)
    ]


def read_bursts(generator, count):
    """(address, beats) at random, each in a row of 1 KiB, some beyond the memory."""
    bases = [FILLED, FILLED, FILLED, SIZE, 0xFFFF0000]
    bursts = []
    for _ in range(count):
        beats = generator.choice([1, 1, 2, 5, 16, LONGEST])
        row = generator.choice(bases) + 1024 * generator.randrange(16)
        bursts.append((row + 4 * generator.randrange(LONGEST - beats + 1), beats))
    return bursts


async def writes(test, generator, count):
    """Bursts of writes one by one; their runs."""
    contents = Contents()
    runs = []
    for _ in range(count):
        beats = generator.choice([1, 2, 3, 16, LONGEST])
        address = generator.choice([WRITTEN, WRITTEN, SIZE]) + 4 * generator.randrange(
            LONGEST - beats + 1
        )
        words = [generator.getrandbits(32) for _ in range(beats)]
        strobes = [generator.randrange(16) for _ in range(beats)]
        test.ask_write(address, words, strobes)
        await test.check_response(address)
        if address < SIZE:
            runs.append((1, address, beats))
            for place, (word, strobe) in enumerate(zip(words, strobes, strict=True)):
                contents.write(address + 4 * place, word, strobe)
    return contents, runs


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def traffic(dut, pause):
    """Single words, writes and reads at once: each finds what it should, and none is done twice."""
    test, generator = Users(dut, pause), random.Random(8)
    await harness.start(dut)
    accesses = single_words(generator, 120)
    bursts = read_bursts(generator, 60)
    test.ask(*accesses)
    test.ask_reads(*bursts)
    singles = cocotb.start_soon(test.check(*accesses))
    reads = cocotb.start_soon(test.check_reads(Contents(), *bursts))
    contents, written = await writes(test, generator, 30)
    await singles
    await reads
    places = sorted(contents.words)
    harness.assert_same(
        "written", *([one.read(p)[0] for p in places] for one in (test.memory, contents))
    )
    # What was written is read through the bus, too.
    test.ask_reads((WRITTEN, LONGEST))
    await test.check_reads(contents, (WRITTEN, LONGEST))
    await test.quiet()
    # The memory was asked for this, in the order of each.
    wanted = [(write, address, 1) for write, address, _ in accesses if address < SIZE]
    inside = [(0, *burst) for burst in bursts if burst[0] < SIZE]
    for runs, belongs in (
        (wanted, lambda place: place < WRITTEN or place >= SIZE - 32),
        (inside, lambda place: FILLED <= place < SIZE - 32),
        ([*written, (0, WRITTEN, LONGEST)], lambda place: WRITTEN <= place < FILLED),
    ):
        harness.assert_same("runs", [run for run in test.runs if belongs(run[1])], runs)


@cocotb.test()
async def edges(dut):
    """The memory's first and last words, and the first behind it."""
    test = Users(dut)
    await harness.start(dut)
    bursts = [(0, 1), (SIZE - 4, 1), (SIZE, 1), (SIZE - 4 * LONGEST, LONGEST), (SIZE, LONGEST)]
    bursts += [(0xFFFFFFFC, 1), (0, LONGEST)]
    test.ask_reads(*bursts)
    await test.check_reads(Contents(), *bursts)
    contents = Contents()
    for address, count in [(SIZE, LONGEST), *bursts]:
        words = [address + number ^ 0x5A5A5A5A for number in range(count)]
        test.ask_write(address, words, [0xF] * count)
        await test.check_response(address)
        if address < SIZE:
            for place, word in enumerate(words):
                contents.write(address + 4 * place, word)
    test.ask_reads(*bursts)
    await test.check_reads(contents, *bursts)
    accesses = [
        (write, address, 7 * address & 0xFFFFFFFF)
        for address in (SIZE - 4, SIZE, 0, 0xFFFFFFFC)
        for write in (1, 0)
    ]
    test.ask(*accesses)
    await test.check(*accesses)
    await test.quiet()
    assert max(address for _, address, _ in test.runs) == SIZE - 4


@cocotb.test()
async def turns(dut):
    """Of what waits for the memory single words come first, then writes, then reads."""
    test = Users(dut)
    test.run.hold = True
    await harness.start(dut)
    read, write, single = (FILLED, 2), (WRITTEN, 3), SINGLES + 8
    test.ask_reads(read, read)
    await ClockCycles(dut.clk, 4)
    test.ask_write(write[0], [1, 2, 3], [0xF] * 3)
    await ClockCycles(dut.clk, 4)
    test.ask((0, single, 0))
    await ClockCycles(dut.clk, 4)
    test.run.hold = False
    await test.check((0, single, 0))
    await test.check_response(write[0])
    await test.check_reads(Contents(), read, read)
    assert test.runs == [(0, single, 1), (1, *write), (0, *read), (0, *read)]
    # The same where what comes first is refused.
    test.run.hold = True
    await ClockCycles(dut.clk, 2)
    test.ask_reads(read)
    await ClockCycles(dut.clk, 4)
    test.ask_write(SIZE, [1, 2, 3], [0xF] * 3)
    test.ask((1, SIZE, 0))
    await test.check((1, SIZE, 0))
    await test.check_response(SIZE)
    assert test.r.empty()
    test.run.hold = False
    await test.check_reads(Contents(), read)
    await test.quiet()


@cocotb.test()
async def on_the_way(dut):
    """Reads go on until `ON_THE_WAY` of them have no words; those behind wait, and lose nothing."""
    test = Users(dut)
    test.r.hold = True
    await harness.start(dut)
    bursts = [(FILLED + 1024 * number, 1 + number % 3) for number in range(2 * ON_THE_WAY)]
    test.ask_reads(*bursts)
    await ClockCycles(dut.clk, 60)
    assert test.runs == [(0, *burst) for burst in bursts[:ON_THE_WAY]]
    # No run more, of whatever kind.
    test.ask((1, SINGLES, 5), (0, SINGLES, 0))
    await ClockCycles(dut.clk, 20)
    assert len(test.runs) == ON_THE_WAY
    test.r.hold = False
    await test.check((1, SINGLES, 5), (0, SINGLES, 0))
    await test.check_reads(Contents(), *bursts)
    await test.quiet()


@cocotb.test()
async def between_bursts(dut):
    """Single words while words of bursts are on the way: a write ends, a read's word is behind."""
    test = Users(dut)
    test.r.hold = True
    await harness.start(dut)
    bursts = [(FILLED, 4), (FILLED + 1024, 2)]
    test.ask_reads(*bursts, (SIZE, 2))
    await ClockCycles(dut.clk, 20)
    assert len(test.ar.cycles) == 3, "a burst beyond the memory waits for the words of others"
    test.r.hold = False
    await test.check_reads(Contents(), *bursts, (SIZE, 2))
    test.r.hold = True
    await ClockCycles(dut.clk, 2)
    test.ask_reads(*bursts)
    await ClockCycles(dut.clk, 20)
    test.ask((1, SINGLES, 9))
    await test.check((1, SINGLES, 9))
    assert len(test.r.cycles) == 8, "a beat was taken"
    test.ask((0, SINGLES, 0))
    await ClockCycles(dut.clk, 20)
    assert test.o.empty() and test.runs[-1] == (0, SINGLES, 1)
    test.r.hold = False
    (got,) = await test.o.receive(1)
    assert got == {"data": 9, "error": 0}
    assert test.o.cycles[-1] > test.r.cycles[-1]
    await test.check_reads(Contents(), *bursts)
    await test.quiet()


@cocotb.test()
async def order_of_writes(dut):
    """A write is answered behind its last beat, not before; data may come before its address."""
    test = Users(dut)
    await harness.start(dut)
    test.w.send([{"data": 1, "strb": 0xF, "last": 0}])
    await ClockCycles(dut.clk, 6)
    assert not test.w.cycles, "data without an address"
    test.aw.send([{"addr": WRITTEN, "len": 1}])
    await ClockCycles(dut.clk, 10)
    assert len(test.w.cycles) == 1 and test.b.empty(), "answered before its end"
    test.data.hold = True
    await ClockCycles(dut.clk, 2)
    test.w.send([{"data": 2, "strb": 0x3, "last": 1}])
    await ClockCycles(dut.clk, 10)
    assert len(test.w.cycles) == 1 and test.b.empty(), "answered before the memory had it"
    # A single word's write ends as late.
    test.data.hold = False
    await test.check_response(WRITTEN)
    test.data.hold = True
    await ClockCycles(dut.clk, 2)
    test.ask((1, SINGLES, 3))
    await ClockCycles(dut.clk, 10)
    assert test.o.empty() and not test.i.cycles
    test.data.hold = False
    await test.check((1, SINGLES, 3))
    assert test.memory.read(WRITTEN, 2) == [1, merged(filled(WRITTEN + 4), 2, 0x3)]


@cocotb.test()
async def latency(dut):
    """None but the memory's."""
    test = Users(dut)
    await harness.start(dut)
    bursts = [(FILLED + 1024 * number, 1) for number in range(4)]
    test.ask_reads(*bursts)
    await test.check_reads(Contents(), *bursts)
    assert test.ar.cycles == test.run.cycles and test.words.cycles == test.r.cycles
    assert test.ar.cycles[-1] - test.ar.cycles[0] == 3, "not a run a cycle"


def test_memory_port():
    harness.run_bench(BusStreams(MemoryPort()), "sim.bench.board.test_memory_port", "memory_port")
