# SPDX-License-Identifier: Apache-2.0
"""An SDR SDRAM of 16 bits in Amaranth, as its data sheet draws it, with the registers of the pins.

It notices what a controller must not do: `wrong` rises and stays.
"""

import math

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.board.sdram import sdram_pins

__all__ = ["SdramModel"]

# Nanoseconds of the slowest of the usual chips (IS42S16160G-7: tRP, tRCD, tRAS, tRC, tRFC, and
# three times the average between refreshes), and cycles at any clock (tDPL, tMRD).
NANOSECONDS = dict(
    precharge=20.0, activate=20.0, active=42.0, row=63.0, refresh=70.0, interval=3 * 7820.0
)
CYCLES = dict(write=2, mode=2)
CAS = 3
ROWS = 13
COLUMNS = 9
MASK = 2
NOP, ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = 7, 3, 5, 4, 2, 1, 0
LONG = 8  # bits of a time that is measured; it stops at its end
FAULTS = 9
REFRESHES = 8  # before the mode


class SdramModel(wiring.Component):
    """Holds `words` of 16 bits, of the lowest addresses, again and again behind; `clock` in Hz.

    Members
    -------
    pins : the controller's pins, seen from the chip
    power_up : In(1), high once the power-up time is over
    wrong : Out(FAULTS), a bit for each rule that was broken (see `_rules`)
    """

    def __init__(self, words, clock, init=()):
        self._cycles = CYCLES | {
            name: math.ceil(time * clock / 1e9 - 1e-9) for name, time in NANOSECONDS.items()
        }
        self.memory = Memory(shape=16, depth=words, init=init)
        super().__init__(
            {
                "pins": In(wiring.Signature(sdram_pins())),
                "power_up": In(1),
                "wrong": Out(FAULTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        # What the pins' registers give the chip.
        names = ("command", "bank", "address", "mask", "given", "drive")
        self._pins = pins = {name: Signal.like(getattr(self.pins, name)) for name in names}
        m.d.sync += [pins[name].eq(getattr(self.pins, name)) for name in names]
        self._open = Array(Signal(name=f"open_{bank}") for bank in range(4))
        self._rows = Array(Signal(ROWS, name=f"row_{bank}") for bank in range(4))
        self._mode = Signal(init=0)
        command, bank = pins["command"], pins["bank"]
        with m.Switch(command):
            with m.Case(ACTIVATE):
                m.d.sync += [
                    self._open[bank].eq(1),
                    self._rows[bank].eq(pins["address"]),
                ]
            with m.Case(PRECHARGE):
                for number in range(4):
                    with m.If(pins["address"][10] | (bank == number)):
                        m.d.sync += self._open[number].eq(0)
            with m.Case(MODE):
                m.d.sync += self._mode.eq(1)
        self._columns(m)
        self._rules(m)
        return m

    def _columns(self, m):
        """Reads with their latency, and writes with their mask."""
        pins = self._pins
        command = pins["command"]
        place = Cat(pins["address"][:COLUMNS], pins["bank"], self._rows[pins["bank"]])
        read = self.memory.read_port()
        write = self.memory.write_port(granularity=8)
        data = [Signal(16, name=f"data_{n}") for n in range(CAS - 1)]
        taken = Signal(16)  # by the pin's register
        m.d.comb += [
            read.addr.eq(place),
            write.addr.eq(place),
            write.data.eq(pins["given"]),
            write.en.eq(Mux(command == WRITE, ~pins["mask"], 0)),
            self.pins.taken.eq(taken),
        ]
        # The read port is the first cycle of the latency, the last register is the pin's.
        steps = [read.data, *data]
        m.d.sync += [after.eq(before) for before, after in zip(steps, data, strict=False)]
        valid = Signal(CAS)
        m.d.sync += [
            valid.eq(Cat(command == READ, valid)),
            taken.eq(Mux(valid[CAS - 1], steps[-1], 0xDEAD)),
        ]

    def _since(self, m, happened, name):
        """Cycles since something happened, one in the next cycle; many before it ever did."""
        count = Signal(LONG, init=(1 << LONG) - 1, name=f"since_{name}")
        with m.If(happened):
            m.d.sync += count.eq(1)
        with m.Elif(~count.all()):
            m.d.sync += count.eq(count + 1)
        return count

    def _rules(self, m):
        """What must not be, in the order of the bits of `wrong`."""
        pins = self._pins
        command, bank = pins["command"], pins["bank"]
        is_ = {
            name: command == code
            for name, code in dict(
                activate=ACTIVATE,
                read=READ,
                write=WRITE,
                precharge=PRECHARGE,
                refresh=REFRESH,
                mode=MODE,
            ).items()
        }
        since = {name: self._since(m, seen, name) for name, seen in is_.items()}
        refreshed = Signal(range(self._cycles["interval"] + 1))
        m.d.sync += refreshed.eq(
            Mux(
                is_["refresh"] | ~self._mode, 0, refreshed + (refreshed != self._cycles["interval"])
            )
        )
        refreshes = Signal(range(REFRESHES + 1))  # so far
        with m.If(is_["refresh"] & (refreshes != REFRESHES)):
            m.d.sync += refreshes.eq(refreshes + 1)
        column = is_["read"] | is_["write"]
        any_open = Cat(*self._open).any()
        early = {
            "precharge": is_["activate"] | is_["refresh"] | is_["mode"],
            "refresh": (command != NOP),
            "mode": (command != NOP),
        }
        rules = (
            # A command before the one before is over.
            Cat(given & (since[name] < self._cycles[name]) for name, given in early.items()).any(),
            # A column of a row that is closed, or opened just now.
            column & (~self._open[bank] | (since["activate"] < self._cycles["activate"])),
            # A row that is open already, or reopened too soon.
            is_["activate"] & (self._open[bank] | (since["activate"] < self._cycles["row"])),
            # A row closed too soon behind its opening or a write.
            is_["precharge"]
            & (
                (since["activate"] < self._cycles["active"])
                | (since["write"] < self._cycles["write"])
            ),
            # A refresh or a mode with rows open.
            (is_["refresh"] | is_["mode"]) & any_open,
            # A refresh that does not come.
            refreshed == self._cycles["interval"],
            # Anything before power is up, or columns without a mode.
            (~self.power_up & (command != NOP)) | (column & ~self._mode),
            # Both ends drive the data pins.
            pins["drive"] & (since["read"] < CAS + 1),
            # A mode before the first refreshes.
            is_["mode"] & (refreshes != REFRESHES),
        )
        for number, rule in enumerate(rules):
            with m.If(rule):
                m.d.sync += self.wrong[number].eq(1)
