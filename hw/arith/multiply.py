# SPDX-License-Identifier: Apache-2.0
"""A multiplier for what is computed once per sentence and layer: no DSP, two bits per cycle."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.hardware import ceil_div

__all__ = ["SerialMultiplier"]

BITS = 2  # of b in a cycle


class SerialMultiplier(wiring.Component):
    """product = a * b, unsigned.

    Latency `steps` + 1 cycles from `start` to `done`; one product at a time, the next one may start in the cycle of `done`, and `start` is ignored
    before. A factor b that is known to be narrow needs fewer steps, two bits in each.

    Parameters
    ----------
    a_width, b_width : widths of the factors; the shorter one should be b

    Members
    -------
    a, b : In, taken with `start`
    steps : In, taken with `start`, `steps_of(width)` where b has no more than `width` bits
    start : In(1)
    done : Out(1), pulse
    product : Out(a_width + b_width), from `done` until the next `start`, after all steps of `b_width`; after fewer ones see `narrow`
    """

    def __init__(self, a_width, b_width):
        self._a_width = a_width
        self._b_width = b_width
        self._steps = ceil_div(b_width, BITS)
        self.latency = self._steps + 1
        self._product = Signal(
            a_width + self._steps * BITS
        )  # the bits of b still to come are its low ones
        super().__init__(
            {
                "a": In(a_width),
                "b": In(b_width),
                "steps": In(range(self._steps + 1)),
                "start": In(1),
                "done": Out(1),
                "product": Out(a_width + b_width),
            }
        )

    @staticmethod
    def steps_of(width):
        return ceil_div(width, BITS)

    def narrow(self, width):
        """The product after `steps_of(width)` steps."""
        return self._product[(self._steps - self.steps_of(width)) * BITS :]

    def elaborate(self, platform):
        m = Module()
        low = self._steps * BITS
        factor = Signal(self._a_width)
        product = self._product
        left = Signal(range(self._steps + 1))
        total = Signal(self._a_width + BITS)
        m.d.comb += [
            total.eq(
                product[low:] + sum(Mux(product[bit], factor << bit, 0) for bit in range(BITS))
            ),
            self.product.eq(product),
        ]
        m.d.sync += self.done.eq(left == 1)
        with m.If(left != 0):
            m.d.sync += [
                product.eq(Cat(product[BITS:low], total)),
                left.eq(left - 1),
            ]
        with m.Elif(self.start):
            m.d.sync += [
                factor.eq(self.a),
                product.eq(self.b),
                left.eq(self.steps),
            ]
        return m

    def multiply(self, m, a, b, width=None):
        """Inside a state of an FSM: start a * b, `width` bits of b, on entering it; returns `done`, in whose cycle it must end or a, b change."""
        m.d.comb += [
            self.a.eq(a),
            self.b.eq(b),
            self.steps.eq(self._steps if width is None else self.steps_of(width)),
            self.start.eq(~self.done),
        ]
        return self.done
