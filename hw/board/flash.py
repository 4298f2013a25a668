# SPDX-License-Identifier: Apache-2.0
"""SPI flash as a memory that is read: runs of words from any address, a bit at a time."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.shapes import AXI_LEN, BYTE, WORD

__all__ = ["Flash", "flash_read_layout"]

FAST_READ = 0x0B  # known to every flash: the command, 24 bits of address, eight bits of nothing
ADDRESS = 24  # bits
DUMMY = 8  # bits between address and data
COMMAND = BYTE.width + ADDRESS + DUMMY  # bits before the first one of data
DESELECT = 4  # periods of the clock that a flash wants between two commands


def flash_read_layout():
    """`length` + 1 words from byte `address` on."""
    return data.StructLayout({"address": ADDRESS, "length": AXI_LEN})


class Flash(wiring.Component):
    """Reads runs of words; the flash's clock is half the machine's.

    Mode 0: the flash takes a bit at the rising edge of `clock` and gives the next one at the
    falling edge. Bytes come one behind the other, the highest bit first; the first one of a word is
    its lowest. A word takes 65 cycles; a run takes 80 more for its command, and 10 behind it.
    Stalled: the flash's clock stands still until the word is taken.

    Members
    -------
    i : In(stream of flash_read_layout())
    o : Out(stream of {data: WORD, last: 1})
    select_n : Out(1), low while a command is under way
    clock : Out(1)
    given : Out(1), to the flash
    taken : In(1), from it, not later than two cycles after the clock's falling edge
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(flash_read_layout())),
                "o": Out(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
                "select_n": Out(1, init=1),
                "clock": Out(1),
                "given": Out(1),
                "taken": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._command = Signal(COMMAND)
        self._left = Signal(range(max(COMMAND, WORD.width) + 1))  # bits of the command or the word
        self._words = Signal(AXI_LEN.width + 1)  # to come, this one among them
        self._bits = Signal(WORD.width)
        bytes_in = [self._bits.word_select(3 - n, BYTE.width) for n in range(4)]
        m.d.comb += [
            self.given.eq(self._command[-1]),
            self.o.payload.data.eq(Cat(bytes_in)),
            self.o.payload.last.eq(self._words == 1),
        ]
        with m.FSM():
            self._begin(m)
            self._read(m)
        return m

    def _begin(self, m):
        """A run's command, bit by bit."""
        # A run begins with its command.
        with m.State("IDLE"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [
                self.clock.eq(0),
                self._left.eq(COMMAND),
                self._words.eq(self.i.payload.length + 1),
                self._command.eq(Cat(C(0, DUMMY), self.i.payload.address, C(FAST_READ, BYTE))),
            ]
            with m.If(self.i.valid):
                m.d.sync += self.select_n.eq(0)
                m.next = "COMMAND"
        # A bit goes out with each falling edge, and is taken with the rising one.
        with m.State("COMMAND"):
            m.d.sync += self.clock.eq(~self.clock)
            with m.If(self.clock):
                m.d.sync += [
                    self._command.eq(self._command << 1),
                    self._left.eq(self._left - 1),
                ]
                with m.If(self._left == 1):
                    m.d.sync += self._left.eq(WORD.width)
                    m.next = "WORD"

    def _read(self, m):
        """The run's words, and the end of the command."""
        # A bit of data comes with each falling edge, and is taken just before the next one.
        with m.State("WORD"):
            m.d.sync += self.clock.eq(~self.clock)
            with m.If(self.clock):
                m.d.sync += [
                    self._bits.eq(Cat(self.taken, self._bits)),
                    self._left.eq(self._left - 1),
                ]
                with m.If(self._left == 1):
                    m.next = "GIVE"
        # Until the word is taken; the clock stands.
        with m.State("GIVE"):
            m.d.comb += self.o.valid.eq(1)
            with m.If(self.o.ready):
                m.d.sync += [
                    self._words.eq(self._words - 1),
                    self._left.eq(Mux(self._words == 1, 2 * DESELECT, WORD.width)),
                ]
                m.next = "WORD"
                with m.If(self._words == 1):
                    m.d.sync += self.select_n.eq(1)
                    m.next = "DESELECT"
        # The flash ends the command.
        with m.State("DESELECT"):
            m.d.sync += self._left.eq(self._left - 1)
            with m.If(self._left == 0):
                m.next = "IDLE"
