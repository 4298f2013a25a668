# SPDX-License-Identifier: Apache-2.0
"""A multiplier for what is computed once per sentence and layer: no DSP, one bit per cycle."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SerialMultiplier"]


class SerialMultiplier(wiring.Component):
    """product = a * b, unsigned.

    Latency `b_width` + 1 cycles from `start` to `done`; one product at a time, `start` is ignored meanwhile.

    Parameters
    ----------
    a_width, b_width : widths of the factors; the shorter one should be b

    Members
    -------
    a, b : In, taken with `start`
    start : In(1)
    done : Out(1), pulse
    product : Out(a_width + b_width), from `done` until the next `start`
    """

    def __init__(self, a_width, b_width):
        self._a_width, self._b_width = a_width, b_width
        super().__init__({
            "a": In(a_width), "b": In(b_width), "start": In(1),
            "done": Out(1), "product": Out(a_width + b_width),
        })

    def elaborate(self, platform):
        m = Module()
        factor = Signal(self._a_width)
        left = Signal(range(self._b_width + 1))  # bits of b still to come; they are the low bits of the product
        total = Signal(self._a_width + 1)
        m.d.comb += total.eq(self.product[self._b_width:] + Mux(self.product[0], factor, 0))
        m.d.sync += self.done.eq(left == 1)
        with m.If(left != 0):
            m.d.sync += [self.product.eq(Cat(self.product[1:self._b_width], total)), left.eq(left - 1)]
        with m.Elif(self.start):
            m.d.sync += [factor.eq(self.a), self.product.eq(self.b), left.eq(self._b_width)]
        return m

    def multiply(self, m, a, b):
        """Inside a state of an FSM: start a * b on entering it; returns `done`, in whose cycle the state must end or a, b change."""
        m.d.comb += [self.a.eq(a), self.b.eq(b), self.start.eq(~self.done)]
        return self.done
