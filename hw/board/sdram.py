# SPDX-License-Identifier: Apache-2.0
"""A controller of one SDR SDRAM of 16 bits, and of 32 MiB: runs of words, refresh, power-up."""

import math
from dataclasses import dataclass

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.shapes import AXI_LEN, AXI_LITE_STROBE, BYTE, SDRAM_DATA, WORD

__all__ = ["Chip", "Sdram", "memory_run", "memory_word", "sdram_pins"]

COLUMNS = 9  # bits of a column's number, a column being a half word
BANK = 2  # bits of a bank's number
ROWS = 13
PLACE = COLUMNS - 1 + BANK + ROWS  # bits of a word's number
ALL_BANKS = 1 << 10  # on the address pins with PRECHARGE
HALVES = WORD.width // SDRAM_DATA.width
STROBES = SDRAM_DATA.width // BYTE.width
CAS = 3  # cycles from READ to its data; every chip of 100 MHz and more can do that
BUFFERS = 2  # registers in the pins: one on the way out, one on the way in
FIRST_REFRESHES = 8

# Levels of ras_n, cas_n and we_n, the last one lowest.
NOP, ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = 0b111, 0b011, 0b101, 0b100, 0b010, 0b001, 0


@dataclass(frozen=True)
class Chip:
    """Times of a chip in ns, of its data sheet; the defaults are the slower ones of those around.

    IS42S16160G-7, W9825G6KH-6, AS4C32M16SB-7 and MT48LC16M16A2-75 keep them. Write recovery is two
    cycles at any clock that these allow.
    """

    power_up: float = 200_000.0
    precharge: float = 20.0
    activate: float = 20.0
    refresh: float = 70.0
    interval: float = 64e6 / (1 << ROWS)

    def cycles(self, name: str, clock: float) -> int:
        """A time of this name in cycles of a clock in Hz, rounded up."""
        return math.ceil(getattr(self, name) * clock / 1e9 - 1e-9)


def memory_run():
    """A run of `length` + 1 words from word `address` on; all of them in one row of 1 KiB."""
    return data.StructLayout({"write": 1, "address": PLACE, "length": AXI_LEN})


def memory_word():
    """A word to write and which of its bytes."""
    return data.StructLayout({"data": WORD, "strobe": AXI_LITE_STROBE})


def sdram_pins():
    """The chip's pins but for its clock; `taken` is what the chip drives onto its data pins."""
    return {
        "command": Out(NOP.bit_length(), init=NOP),
        "bank": Out(BANK),
        "address": Out(ROWS),
        "mask": Out(STROBES),
        "given": Out(SDRAM_DATA),
        "drive": Out(1),
        "taken": In(SDRAM_DATA),
    }


class Sdram(wiring.Component):
    """Opens a row, moves a run of half words, one a cycle, and closes the row again.

    Single columns are asked for one behind the other, so that a run may have any length and a write
    may wait for its words. A run takes two cycles a word, and `activate` + `precharge` + 5 around;
    to the first word of a read it is `activate` + CAS + BUFFERS + 4. Between runs the chip is
    refreshed when it is due. Stalled: a write waits for words; `o` is never stalled, so who reads
    must have room.

    Parameters
    ----------
    clock : Hz
    chip : Chip

    Members
    -------
    i : In(stream of memory_run()), done in their order
    i_data : In(stream of memory_word()), of the writes
    o : Out(stream of {data: WORD, last: 1}, always ready), of the reads
    ready : Out(1), the chip has been made ready
    others : sdram_pins(), all of them registers; a register in each pin is counted on
    """

    def __init__(self, clock, chip=None):
        self._clock = clock
        self._chip = chip or Chip()
        words = data.StructLayout({"data": WORD, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(memory_run())),
                "i_data": In(stream.Signature(memory_word())),
                "o": Out(stream.Signature(words, always_ready=True)),
                "ready": Out(1),
                **sdram_pins(),
            }
        )

    def _cycles(self, name):
        return self._chip.cycles(name, self._clock)

    def elaborate(self, platform):
        m = Module()
        power_up = self._cycles("power_up")
        self._pause = Signal(range(power_up + 1), init=power_up)  # cycles until the next command
        self._due = Signal()  # a refresh is
        self._asked = Signal()  # a column is read in this cycle
        self._half = Signal(range(HALVES))
        self._run = Signal(memory_run())
        m.d.sync += [
            self.command.eq(NOP),
            self.drive.eq(0),
            self.mask.eq(0),
            self._pause.eq(Mux(self._pause == 0, 0, self._pause - 1)),
        ]
        self._refresh(m)
        with m.FSM():
            self._prepare(m)
            self._open(m)
            self._move(m)
        self._take(m)
        return m

    def _command(self, m, code, pause, address=0, bank=0):
        """A command on the pins from the next cycle on, and none for `pause` cycles after it."""
        m.d.sync += [
            self.command.eq(code),
            self.address.eq(address),
            self.bank.eq(bank),
            self._pause.eq(pause),
        ]

    def _refresh(self, m):
        """`_due` once an interval."""
        # A run puts a refresh off, by less than an interval, and the count goes on: none is lost.
        interval = self._cycles("interval") - 1
        count = Signal(range(interval))
        with m.If(count == interval - 1):
            m.d.sync += [
                count.eq(0),
                self._due.eq(1),
            ]
        with m.Else():
            m.d.sync += count.eq(count + 1)

    def _prepare(self, m):
        """Power-up as the data sheets want it."""
        left = Signal(range(FIRST_REFRESHES + 1), init=FIRST_REFRESHES)
        free = self._pause == 0
        # Power and clock are stable for long enough, then all rows are closed.
        with m.State("POWER"):
            with m.If(free):
                self._command(m, PRECHARGE, self._cycles("precharge"), ALL_BANKS)
                m.next = "PREPARE"
        # The first refreshes; then the mode: single columns, and the latency.
        with m.State("PREPARE"):
            with m.If(free & (left != 0)):
                self._command(m, REFRESH, self._cycles("refresh"))
                m.d.sync += left.eq(left - 1)
            with m.Elif(free):
                self._command(m, MODE, HALVES, CAS << 4)
                m.d.sync += self.ready.eq(1)
                m.next = "IDLE"

    def _open(self, m):
        """Between runs: a refresh where one is due, else the next run's row."""
        place = self.i.payload.address
        # All rows are closed.
        with m.State("IDLE"):
            with m.If(self._pause == 0):
                with m.If(self._due):
                    self._command(m, REFRESH, self._cycles("refresh"))
                    m.d.sync += self._due.eq(0)
                with m.Elif(self.i.valid):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += self._run.eq(self.i.payload)
                    self._command(
                        m,
                        ACTIVATE,
                        self._cycles("activate") - 1,
                        address=place[-ROWS:],
                        bank=place[COLUMNS - 1 : COLUMNS - 1 + BANK],
                    )
                    m.next = "COLUMNS"

    def _move(self, m):
        """A column a cycle; the row's end."""
        # One command a column: the chip's own bursts would tie runs to their lengths.
        run = self._run
        last = self._half == HALVES - 1
        word = self.i_data.payload
        column = Cat(self._half, run.address[: COLUMNS - 1])
        bank = run.address[COLUMNS - 1 : COLUMNS - 1 + BANK]
        # Halves of words, the lower one first; a write waits for its words.
        with m.State("COLUMNS"):
            with m.If((self._pause == 0) & (~run.write | self.i_data.valid)):
                self._command(m, Mux(run.write, WRITE, READ), 0, column, bank)
                m.d.comb += [
                    self._asked.eq(~run.write),
                    self.i_data.ready.eq(run.write & last),
                ]
                m.d.sync += [
                    self._half.eq(self._half + 1),
                    self.given.eq(word.data.word_select(self._half, SDRAM_DATA.width)),
                    self.drive.eq(run.write),
                    self.mask.eq(Mux(run.write, ~word.strobe.word_select(self._half, STROBES), 0)),
                ]
                with m.If(last):
                    m.d.sync += [
                        run.address.eq(run.address + 1),
                        run.length.eq(run.length - 1),
                    ]
                    with m.If(run.length == 0):
                        m.d.sync += self._pause.eq(HALVES)
                        m.next = "CLOSE"
        # Two cycles behind the last column: written halves have arrived by then.
        with m.State("CLOSE"):
            with m.If(self._pause == 0):
                self._command(m, PRECHARGE, self._cycles("precharge") - 1, ALL_BANKS)
                m.next = "IDLE"

    def _take(self, m):
        """Halves that come back become words."""
        # From the cycle that asks: the pins' own register, then the chip and the two in the pins.
        way = Signal(1 + CAS + BUFFERS)
        ends = Signal(len(way))
        lower = Signal(SDRAM_DATA)
        second = Signal()
        m.d.sync += [
            way.eq(Cat(self._asked, way)),
            ends.eq(Cat((self._run.length == 0) & (self._half == HALVES - 1), ends)),
            self.o.valid.eq(way[-1] & second),
            self.o.payload.data.eq(Cat(lower, self.taken)),
            self.o.payload.last.eq(ends[-1]),
        ]
        with m.If(way[-1]):
            m.d.sync += [
                lower.eq(self.taken),
                second.eq(~second),
            ]
