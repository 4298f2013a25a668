# SPDX-License-Identifier: Apache-2.0
"""A board with the chips around it, in one component: what is left is the serial line."""

from amaranth import C, Cat, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.board.board import FASTER, MEMORY, Board
from hw.board.sdram import Chip, Sdram, sdram_pins
from hw.board.soc import Soc
from sim.bench.board.sdram_model import FAULTS, SdramModel

__all__ = ["Chips", "FlashChip"]

POWER_UP = 2000.0  # ns, for simulations to be short
FAST_READ = 0x0B
COMMAND = 40  # bits before the data


class FlashChip(wiring.Component):
    """A serial flash that knows FAST READ; its clock is sampled by the board's.

    parts : {address: bytes that lie there}; all else reads as ones

    Members
    -------
    select_n, clock, given : In(1); taken : Out(1)
    wrong : Out(1), another command came
    """

    def __init__(self, parts):
        self._parts = parts
        super().__init__(
            {"select_n": In(1), "clock": In(1), "given": In(1), "taken": Out(1), "wrong": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        before = Signal()
        seen = Signal(range(COMMAND + 1))  # bits of the command
        command = Signal(COMMAND)
        bit = Signal(30)  # of the data, from the first falling edge on
        falls = before & ~self.clock
        now = bit + falls
        # The first bit comes with the falling edge behind the command.
        address = command[8:32] + (now - 1)[3:]
        m.d.comb += self.taken.eq(self._byte(m, address).bit_select((~(now - 1))[:3], 1))
        m.d.sync += before.eq(self.clock)
        with m.If(self.select_n):
            m.d.sync += [
                seen.eq(0),
                bit.eq(0),
            ]
        with m.Elif(~before & self.clock & (seen != COMMAND)):
            m.d.sync += [
                seen.eq(seen + 1),
                command.eq(Cat(self.given, command)),
            ]
        with m.Elif((seen == COMMAND) & falls):
            m.d.sync += bit.eq(now)
        with m.If((seen == COMMAND) & (command[32:] != C(FAST_READ, 8))):
            m.d.sync += self.wrong.eq(1)
        return m

    def _byte(self, m, address):
        """What lies at an address."""
        byte = Signal(8)
        m.d.comb += byte.eq(0xFF)
        for first, data in self._parts.items():
            padded = data + b"\xff" * (-len(data) % 4)
            words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
            memory = m.submodules[f"at_{first:x}"] = Memory(shape=32, depth=len(words), init=words)
            port = memory.read_port(domain="comb")
            place = address - first
            m.d.comb += port.addr.eq(place[2:])
            with m.If((address >= first) & (address < first + len(padded))):
                m.d.comb += byte.eq(port.data.word_select(place[:2], 8))
        return byte


class Chips(wiring.Component):
    """A `Board`, or a `Soc` with this `program`; memory of `words` half words, flash of `parts`.

    Members
    -------
    rx : In(1); tx : Out(1)
    copying, irq : Out(1), the board's
    wrong : Out(FAULTS + 1), rules of the memory that were broken, and of the flash
    """

    def __init__(self, config, clock, baud, words, parts, program=None):
        memory = Sdram(clock * FASTER, Chip(power_up=POWER_UP))
        if program is None:
            self.board = Board(config, clock, baud, memory)
        else:
            self.board = Soc(config, clock, program, baud, memory)
        self._power_up = int(POWER_UP * clock * FASTER / 1e9)  # cycles
        self.sdram = SdramModel(words, clock * FASTER)
        self.flash = FlashChip(parts)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1),
                "copying": Out(1),
                "irq": Out(1),
                "wrong": Out(FAULTS + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        board = self.board
        m.submodules.board = board
        m.submodules.flash = flash = self.flash
        m.submodules.sdram = DomainRenamer(MEMORY)(self.sdram)
        up = Signal(range(self._power_up + 1))
        m.d[MEMORY] += up.eq(up + ~self.sdram.power_up)
        m.d.comb += [
            board.rx.eq(self.rx),
            self.tx.eq(board.tx),
            self.copying.eq(board.copying),
            self.irq.eq(board.irq),
            self.wrong.eq(Cat(self.sdram.wrong, flash.wrong)),
            self.sdram.power_up.eq(up == self._power_up),
            flash.select_n.eq(board.flash_select_n),
            flash.clock.eq(board.flash_clock),
            flash.given.eq(board.flash_given),
            board.flash_taken.eq(flash.taken),
        ]
        for name, member in sdram_pins().items():
            ends = getattr(self.sdram.pins, name), getattr(board, f"sdram_{name}")
            target, source = ends if member.flow == Out else ends[::-1]
            m.d.comb += target.eq(source)
        return m
