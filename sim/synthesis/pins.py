# SPDX-License-Identifier: Apache-2.0
"""A component behind five pins, so that it can be placed and routed alone on any device."""

from amaranth import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Pins"]


class Pins(wiring.Component):
    """Inputs of `inner` come from a shift register; its outputs are captured into another one.

    So every path of `inner` begins and ends at a register, and no tool can leave out what leads
    nowhere. The reset, too, is a register's: it is as far from a pin as in a real design.

    Parameters
    ----------
    inner : component, with ports of any shape

    Members
    -------
    i : In(1), the next bit of the inputs
    take : In(1), capture the outputs
    o : Out(1), the last bit of what was captured
    """

    def __init__(self, inner):
        self._inner = inner
        super().__init__({"i": In(1), "take": In(1), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        reset = Signal(2)
        m.domains.inner = ClockDomain()
        m.d.sync += reset.eq(Cat(ResetSignal(), reset))
        m.d.comb += [
            ClockSignal("inner").eq(ClockSignal()),
            ResetSignal("inner").eq(reset[-1]),
        ]
        m.submodules.inner = DomainRenamer("inner")(self._inner)
        ports = [
            (member.flow, value) for _, member, value in self._inner.signature.flatten(self._inner)
        ]
        given, seen = (Cat(value for flow, value in ports if flow == way) for way in (In, Out))
        inputs = Signal(max(len(given), 1))
        outputs = Signal(max(len(seen), 1))
        m.d.sync += [
            inputs.eq(Cat(self.i, inputs)),
            outputs.eq(Cat(self.i, outputs)),
        ]
        with m.If(self.take):
            m.d.sync += outputs.eq(seen)
        m.d.comb += [
            given.eq(inputs),
            self.o.eq(outputs[-1]),
        ]
        return m
