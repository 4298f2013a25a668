# SPDX-License-Identifier: Apache-2.0
"""The AXI4-Lite register block, made from the table in firmware/registers.py.

No register is named twice: a new row of that table is a port of this block, a register of the C
header and a line of docs/registers.md.
"""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from firmware.registers import ADDRESS_BITS, COUNTERS, REGISTERS, constants
from hw.bus import axi
from hw.bus.axi import Resp
from hw.shapes import BYTE, COUNTER, WORD, fields_layout

__all__ = ["Registers", "shape"]

# Registers of access "rw" that the hardware writes too: an image brings its own exit threshold, and
# the driver may change it afterwards.
SET_BY_IMAGE = ("EXIT_THRESHOLD",)
STEP = WORD.width // BYTE.width  # bytes from a register to the next one
# Words of counters: the counter's port, and where the word begins.
_COUNTED = {
    f"{name}_{end}": (name.lower(), low)
    for name in COUNTERS
    for end, low in (("LO", 0), ("HI", WORD.width))
}


def shape(register):
    """A structure of the register's fields in lower case, or its bare width."""
    if not register.fields:
        return unsigned(register.width)
    return fields_layout(register)


def _is_constant(register, config):
    return register.access == "ro" and (register.name in constants(config) or bool(register.reset))


def _initial(register, config):
    """Reset value as the port's shape takes it."""
    value = constants(config).get(register.name, register.reset)
    if not register.fields:
        return value
    return {bits.name.lower(): (value & bits.mask) >> bits.low for bits in register.fields}


def _members(config):
    """Ports of each register, by its access."""
    # The two halves of a counter are one port; what the configuration fixes is none.
    members = {name.lower(): In(COUNTER) for name in COUNTERS if "counters" in config.units}
    for register in REGISTERS:
        name = register.name.lower()
        if register.access == "rw":
            members[name] = Out(shape(register), init=_initial(register, config))
        elif register.access == "w1c":
            members |= {name: Out(shape(register)), f"{name}_set": In(shape(register))}
        elif register.access == "pulse":
            members[name] = Out(shape(register))
        elif register.name not in _COUNTED and not _is_constant(register, config):
            members[name] = In(shape(register))
        if register.name in SET_BY_IMAGE:
            members |= {f"{name}_load": In(1), f"{name}_value": In(register.width)}
    return members


class Registers(wiring.Component):
    """AXI4-Lite subordinate with the registers of the table.

    A read is answered in the next cycle, a write in the second one; one read per two cycles, one
    write per three. Stalled by `rready` and `bready`. No output depends on an input within a cycle.

    An address that is no register answers DECERR; writing a read-only register, or without all four
    strobes, answers SLVERR; neither has an effect. Bits above a register's width are ignored.
    The words of a counter are read one at a time: who reads the high word before and after the low
    one, and again where it has moved, has both of one moment. Without the unit "counters" all
    counters read zero.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    bus : In(axi.lite), AXI4-Lite subordinate
    irq : Out(1), a cause is set that is enabled
    NAME of access rw : Out(shape(register)), its value
    NAME_load, NAME_value of SET_BY_IMAGE : In, pulse that sets it, and to what
    NAME of access w1c : Out(shape(register)), its value
    NAME_set of access w1c : In, pulses that set bits (setting wins over clearing)
    NAME of access pulse : Out(shape(register)), high for the one cycle after the write
    NAME of access ro : In(shape(register)), unless the configuration fixes it
    NAME of a counter : In(COUNTER), when the unit is present
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"bus": In(axi.lite(ADDRESS_BITS)), "irq": Out(1), **_members(config)})

    def elaborate(self, platform):
        m = Module()
        self._write_channel(m)
        self._read_channel(m)
        m.d.comb += self.irq.eq((self.irq_cause.as_value() & self.irq_enable.as_value()).any())
        return m

    def _value(self, name):
        value = getattr(self, name.lower())
        return value.as_value() if isinstance(value, data.View) else value

    def _write_channel(self, m):
        """One write: address and data are taken together, and answered in the next cycle."""
        bus = self.bus
        # A register, since ready must not follow from valid within a cycle (IHI 0022, A3.2.1); what
        # was valid stays so until it is taken.
        accept = Signal()
        response = Signal(Resp)
        m.d.sync += accept.eq(bus.awvalid & bus.wvalid & ~accept & ~bus.bvalid)
        m.d.comb += [
            bus.awready.eq(accept),
            bus.wready.eq(accept),
            response.eq(Resp.DECERR),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(accept):
            m.d.sync += [
                bus.bvalid.eq(1),
                bus.bresp.eq(response),
            ]
        for register in REGISTERS:
            hit = bus.awaddr == register.offset
            write = Signal(name=f"write_{register.name.lower()}")
            with m.If(hit):
                m.d.comb += response.eq(Resp.SLVERR)
            if register.access != "ro":
                # All strobes or none: so no register is ever half old and half new.
                m.d.comb += write.eq(accept & hit & bus.wstrb.all())
                with m.If(hit & bus.wstrb.all()):
                    m.d.comb += response.eq(Resp.OKAY)
                self._store(m, register, write)

    def _store(self, m, register, write):
        """What a write does to one register."""
        value = self._value(register.name)
        written = self.bus.wdata[: register.width]
        if register.access == "pulse":
            m.d.sync += value.eq(0)
        if register.access == "w1c":
            # An event in the cycle in which the driver clears its bit must not be lost.
            events = self._value(f"{register.name}_set")
            m.d.sync += value.eq(value | events)
            written = value & ~written | events
        if register.name in SET_BY_IMAGE:
            with m.If(getattr(self, f"{register.name.lower()}_load")):
                m.d.sync += value.eq(getattr(self, f"{register.name.lower()}_value"))
        with m.If(write):
            m.d.sync += value.eq(written)

    def _read_channel(self, m):
        """One read: the address is taken, and answered in the next cycle."""
        bus = self.bus
        accept = Signal()
        m.d.comb += [
            accept.eq(bus.arvalid & ~bus.rvalid),
            bus.arready.eq(~bus.rvalid),
        ]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        by_offset = {register.offset: register for register in REGISTERS}
        offsets = range(0, 1 << ADDRESS_BITS, STEP)
        # One wide selection each: half the logic of a case per register.
        words = Cat(self._read(by_offset.get(offset)) for offset in offsets)
        known = Cat(Const(offset in by_offset, 1) for offset in offsets)
        with m.If(accept):
            hit = known.bit_select(bus.araddr[2:], 1) & (bus.araddr[:2] == 0)
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rresp.eq(Mux(hit, Resp.OKAY, Resp.DECERR)),
                bus.rdata.eq(words.word_select(bus.araddr[2:], WORD.width)),
            ]

    def _read(self, register):
        """The word that a register reads as; None is no register."""
        if register is None or register.access == "pulse":
            return Const(0, WORD)
        if _is_constant(register, self.config):
            return Const(constants(self.config).get(register.name, register.reset), WORD)
        if register.name in _COUNTED:
            name, low = _COUNTED[register.name]
            if "counters" not in self.config.units:
                return Const(0, WORD)
            return getattr(self, name)[low : low + WORD.width]
        value = self._value(register.name)
        return Cat(value, Const(0, WORD.width - len(value)))
