# SPDX-License-Identifier: Apache-2.0
"""The registers: AXI4-Lite's rules, and what each register holds and reads as, for any master."""

from amaranth import Const, Module, Signal, Value
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring

from firmware.registers import COUNTERS, REGISTERS, constants
from golden_model.hardware import HardwareConfig
from hw.bus.axi import Resp
from hw.bus.registers import SET_BY_IMAGE
from hw.shapes import WORD
from sim.prove.prover import Mutant, Property

__all__ = ["CONTROL"]


class RegisterRules(wiring.Component):
    """`Registers`, of a master that holds what it offers until it is taken.

    Each access has one answer, which stays until it is taken; no ready follows from a valid of its
    cycle. A register of access rw or w1c has its reset value, then what writes and events make of
    it. A read gives that, the constant, or the port (of a counter a half); DECERR where there is
    none.
    """

    CONFIG = HardwareConfig(tokens=2, columns=2)

    def __init__(self, registers):
        self.block = registers(self.CONFIG)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, wiring.flipped(self), block)
        bus = block.bus
        for names, check in (
            (("awvalid", "awready", "awaddr"), Assume),
            (("wvalid", "wready", "wdata", "wstrb"), Assume),
            (("arvalid", "arready", "araddr"), Assume),
            (("bvalid", "bready", "bresp"), Assert),
            (("rvalid", "rready", "rdata", "rresp"), Assert),
        ):
            self._hold(m, check, *(getattr(bus, name) for name in names))
        write = Signal()
        read = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.awready),
            read.eq(bus.arvalid & bus.arready),
        ]
        self._answers(m, bus, write, read)
        shadows = self._shadows(m, bus, write)
        self._reads(m, bus, read, shadows)
        return m

    def _hold(self, m, check, valid, ready, *words):
        """What is offered stays until it is taken."""
        name = valid.name
        waits = Signal(name=f"{name}_waits")
        m.d.sync += waits.eq(valid & ~ready)
        for word in words:
            held = Signal.like(word, name=f"{word.name}_held")
            m.d.sync += held.eq(word)
            m.d.comb += check(~waits | (valid & (word == held)))

    def _answers(self, m, bus, write, read):
        """One answer for each access; readies are known a cycle before."""
        owed_write = Signal()
        owed_read = Signal()
        soon = Signal()
        m.d.sync += [
            owed_write.eq(write | (owed_write & ~(bus.bvalid & bus.bready))),
            owed_read.eq(read | (owed_read & ~(bus.rvalid & bus.rready))),
            soon.eq(bus.awvalid & bus.wvalid & ~bus.awready & ~bus.bvalid),
        ]
        m.d.comb += [
            Assert(bus.bvalid == owed_write),
            Assert(bus.rvalid == owed_read),
            Assert(~(write & owed_write) & ~(read & owed_read)),
            Assert(bus.awready == soon),
            Assert(bus.wready == soon),
            Assert(~soon | (bus.awvalid & bus.wvalid)),
            Assert(bus.arready == ~owed_read),
        ]

    def _shadows(self, m, bus, write):
        """What each register that can be written must hold, by its offset."""
        shadows = {}
        resets = constants(self.CONFIG)
        for register in REGISTERS:
            if register.access not in ("rw", "w1c"):
                continue
            name = register.name.lower()
            held = Value.cast(getattr(self.block, name))
            shadow = Signal(
                register.width,
                name=f"{name}_shadow",
                init=resets.get(register.name, register.reset),
            )
            shadows[register.offset] = shadow
            hit = write & bus.wstrb.all() & (bus.awaddr == register.offset)
            m.d.comb += Assert(held == shadow)
            if register.access == "w1c":
                events = Value.cast(getattr(self.block, f"{name}_set"))
                cleared = (bus.wdata & hit.replicate(WORD.width))[: register.width]
                m.d.sync += shadow.eq((shadow & ~cleared) | events)
                continue
            if register.name in SET_BY_IMAGE:
                with m.If(getattr(self.block, f"{name}_load")):
                    m.d.sync += shadow.eq(getattr(self.block, f"{name}_value"))
            with m.If(hit):
                m.d.sync += shadow.eq(bus.wdata)
        return shadows

    def _reads(self, m, bus, read, shadows):
        """What a read gives: what the register held, or its port was, when the address came."""
        wanted = Signal(WORD)
        there = Signal()  # the address is a register's
        with m.If(read):
            m.d.sync += there.eq(0)
            with m.Switch(bus.araddr):
                for register in REGISTERS:
                    with m.Case(register.offset):
                        value = shadows.get(register.offset)
                        m.d.sync += [
                            there.eq(1),
                            wanted.eq(self._read_only(register) if value is None else value),
                        ]
        with m.If(bus.rvalid):
            m.d.comb += [
                Assert((bus.rresp == Resp.OKAY) == there),
                Assert((bus.rresp == Resp.OKAY) | (bus.rresp == Resp.DECERR)),
                Assert(~there | (bus.rdata == wanted)),
            ]

    def _read_only(self, register):
        """What a register that nobody writes reads as; the counters' have two words each."""
        name, _, word = register.name.rpartition("_")
        if name in COUNTERS:
            low = WORD.width * (word == "HI")
            return getattr(self.block, name.lower())[low:][: WORD.width]
        given = constants(self.CONFIG).get(register.name, register.reset)
        if given or register.access == "pulse":
            return Const(given, WORD)
        return Value.cast(getattr(self.block, register.name.lower()))


CONTROL = (
    Property(
        "Registers: AXI4-Lite's rules; reset values, writes, events and reads of each register",
        "hw.bus.registers:Registers",
        RegisterRules,
        1,
        True,
        (
            Mutant("& ~accept & ~bus.bvalid)", "& ~accept)"),
            Mutant(
                "with m.If(bus.rready):\n            m.d.sync += bus.rvalid",
                "with m.If(1):\n            m.d.sync += bus.rvalid",
            ),
            Mutant("written = value & ~written | events", "written = value & ~written"),
            Mutant("accept & hit & bus.wstrb.all()", "accept & hit"),
            Mutant("Mux(hit, Resp.OKAY, Resp.DECERR)", "Resp.OKAY"),
            Mutant("getattr(self, name)[low : low + WORD.width]", "getattr(self, name)[:32]"),
        ),
    ),
)
