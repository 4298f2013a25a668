# SPDX-License-Identifier: Apache-2.0
"""hw/board/access.py: a host's accesses, each at the place that it means, and its answer."""

import random

import cocotb
from cocotb.triggers import ClockCycles

from firmware.registers import ADDRESS_BITS
from hw.board.access import Access
from sim.bench import harness
from sim.bench.axi import AxiResp
from sim.bench.board.bus_streams import BusStreams
from sim.bench.board.word_memory import WordMemory
from sim.bench.players import silence

FLASH = 1 << 31  # addresses from here on are the flash's
FLASH_BYTES = 1 << 24
REGISTERS = 64
BAD = {4: AxiResp.SLVERR, 8: AxiResp.DECERR}  # registers that answer with an error
BAD_WORD = 0x40000000  # memory from here on does


def flash_word(address):
    """What the flash holds at an address of its own."""
    return address * 0x9E3779B1 & 0xFFFFFFFF


class Targets:
    """Registers, memory and flash behind the block, and the host in front of it.

    seen : what came to the registers and to the flash, in order
    """

    def __init__(self, dut, pause="none"):
        block = BusStreams(Access())
        silence(dut, block)
        self.dut = dut
        self.seen = []
        self.registers = {}
        self.words = {}
        self._block = block
        self._pause = pause
        self.i = self._player(harness.Source, "i", 1)
        self.o = self._player(harness.Sink, "o", 1)
        self.memory = WordMemory(dut, block, self._answer, harness.pauses(pause, 3)[1])
        self.flash = self._player(harness.Sink, "flash", 5)
        self.flash_word = self._player(harness.Source, "flash_word", 5)
        self.aw = self._player(harness.Sink, "aw", 7)
        self.w = self._player(harness.Sink, "w", 9)
        self.b = self._player(harness.Source, "b", 11)
        self.ar = self._player(harness.Sink, "ar", 13)
        self.r = self._player(harness.Source, "r", 15)
        for serve in (self._serve_flash, self._serve_writes, self._serve_reads):
            cocotb.start_soon(serve())

    def _player(self, kind, name, seed):
        """A stream's end, with pauses of its own."""
        idle, stall = harness.pauses(self._pause, seed)
        layout = getattr(self._block, name).payload.shape()
        return kind(self.dut, name, layout, idle if kind is harness.Source else stall)

    def _answer(self, access):
        """Of the memory."""
        error = access["address"] >= BAD_WORD
        if access["write"] and not error:
            self.words[access["address"]] = access["data"]
        return {"data": self.words.get(access["address"], 0), "error": int(error)}

    async def _serve_flash(self):
        while True:
            (run,) = await self.flash.receive(1)
            self.seen.append(("flash", run["address"], run["length"]))
            self.flash_word.send([{"data": flash_word(run["address"]), "last": 1}])

    async def _serve_writes(self):
        """Answers when address and data have come, whichever is first."""
        while True:
            (address,) = await self.aw.receive(1)
            (word,) = await self.w.receive(1)
            self.seen.append(("write", address["addr"], word["data"], word["strb"]))
            self.registers[address["addr"]] = word["data"]
            self.b.send([{"resp": BAD.get(address["addr"], AxiResp.OKAY)}])

    async def _serve_reads(self):
        while True:
            (address,) = await self.ar.receive(1)
            self.seen.append(("read", address["addr"]))
            word = self.registers.get(address["addr"], 0)
            self.r.send([{"data": word, "resp": BAD.get(address["addr"], AxiResp.OKAY)}])

    async def check(self, accesses):
        """Send them; each ends as it should, and each target has seen what was for it."""
        expected, seen, words = answers(accesses)
        self.i.send(accesses)
        got = await self.o.receive(len(accesses))
        for number, (one, wanted) in enumerate(zip(got, expected, strict=True)):
            data = one["data"] if wanted["data"] is not None else None
            harness.assert_same(f"answer {number}", {**one, "data": data}, wanted)
        await ClockCycles(self.dut.clk, 20)
        assert self.o.empty(), "an answer more"
        harness.assert_same("registers and flash", self.seen, seen)
        harness.assert_same("memory", self.memory.seen, words)
        # One at a time.
        ends = zip(self.o.cycles, self.i.cycles[1:], strict=False)
        assert all(end < begin for end, begin in ends)


def answers(accesses):
    """(answers, what registers and flash see, what the memory sees); data None: nobody looks."""
    registers, memory, seen, words, expected = {}, {}, [], [], []
    for access in accesses:
        write, address, data = access["write"], access["address"], access["data"]
        found, error = None, 0
        if not access["memory"]:
            place = address % (1 << ADDRESS_BITS)
            error = int(place in BAD)
            seen.append(("write", place, data, 0xF) if write else ("read", place))
            found = registers.get(place, 0)
            if write:
                registers[place] = data
        elif address >= FLASH:
            error = write
            if not write:
                found = flash_word(address % FLASH_BYTES)
                seen.append(("flash", address % FLASH_BYTES, 0))
        else:
            error = int(address >= BAD_WORD)
            words.append({"write": write, "address": address, "data": data})
            found = memory.get(address, 0)
            if write and not error:
                memory[address] = data
        expected.append({"data": None if write or error else found, "error": error})
    return expected, seen, words


def access(write, memory, address, data=0):
    return {"write": write, "memory": memory, "address": address, "data": data}


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def traffic(dut, pause):
    """Everything at random, each behind each."""
    generator = random.Random(4)
    places = [
        (0, 0, REGISTERS),
        (1, 0, REGISTERS),
        (1, BAD_WORD, REGISTERS),
        (1, FLASH, 4 * FLASH_BYTES),
    ]
    accesses = []
    for _ in range(300):
        memory, base, size = generator.choice(places)
        address = base + 4 * generator.randrange(size // 4)
        accesses.append(
            access(generator.getrandbits(1), memory, address, generator.getrandbits(32))
        )
    test = Targets(dut, pause)
    await harness.start(dut)
    await test.check(accesses)


@cocotb.test()
async def edges(dut):
    """The last and the first address of each target, read and written."""
    test = Targets(dut)
    await harness.start(dut)
    places = [(1, address) for address in (0, BAD_WORD - 4, BAD_WORD, FLASH - 4, FLASH)]
    places += [(1, FLASH + FLASH_BYTES - 4), (1, 0xFFFFFFFC)]
    places += [(0, address) for address in (0, 4, 8, (1 << ADDRESS_BITS) - 4)]
    await test.check(
        [
            access(write, memory, address, 0xA5A50000 + number)
            for number, (memory, address) in enumerate(places)
            for write in (1, 0)
        ]
    )


@cocotb.test()
@cocotb.parametrize(late=["aw", "w"])
async def channels(dut, late):
    """Address and data of a register's write are taken one before the other; it ends after both."""
    test = Targets(dut)
    await harness.start(dut)
    channel = getattr(test, late)
    channel.hold = True
    test.i.send([access(1, 0, 12, 77), access(0, 0, 12)])
    await ClockCycles(dut.clk, 20)
    other = test.w if late == "aw" else test.aw
    assert len(other.cycles) == 1 and not channel.cycles, "taken twice, or not at all"
    assert test.o.empty()
    channel.hold = False
    written, read = await test.o.receive(2)
    assert written["error"] == 0
    assert read == {"data": 77, "error": 0}


@cocotb.test()
async def held(dut):
    """An answer waits as it is until it is taken, and no other access begins before."""
    test = Targets(dut)
    await harness.start(dut)
    test.o.hold = True
    await ClockCycles(dut.clk, 2)
    test.i.send([access(0, 1, FLASH + 4), access(1, 1, 8, 5), access(0, 1, 8)])
    await ClockCycles(dut.clk, 30)
    assert len(test.i.cycles) == 1 and not test.memory.seen
    test.o.hold = False
    first, _, last = await test.o.receive(3)
    assert first == {"data": flash_word(4), "error": 0} and last == {"data": 5, "error": 0}


@cocotb.test()
async def latency(dut):
    """Three cycles and the target's: here one for the memory, one for the flash's word."""
    test = Targets(dut)
    await harness.start(dut)
    await test.check([access(0, 1, 16), access(0, 1, FLASH), access(1, 1, FLASH)])
    took = [end - begin for begin, end in zip(test.i.cycles, test.o.cycles, strict=True)]
    assert took == [3 + 1, 3 + 2, 3], took


def test_access():
    harness.run_bench(BusStreams(Access()), "sim.bench.board.test_access", "access")
