# SPDX-License-Identifier: Apache-2.0
"""A multiplier for what is computed once a sentence and layer: no DSP, two bits a cycle."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.hardware import ceil_div
from hw.checks import check_count

__all__ = ["SerialMultiplier"]

# Bits of b in a cycle. One more adder than with one bit, and half the cycles: the products of EXIT
# and DROP lie on the way of every layer.
BITS = 2


class SerialMultiplier(wiring.Component):
    """product = a * b, unsigned.

    Latency `steps` + 1 cycles from `start` to `done`, one product at a time: the next one may start
    in the cycle of `done`, and `start` is ignored before. A factor b that is known to be narrow
    needs fewer steps, two bits in each. Nothing stalls it.

    Parameters
    ----------
    a_width : of a factor, at least 1
    b_width : of the other one, at least 1; the shorter one should be b

    Members
    -------
    a : In(a_width), taken with `start`
    b : In(b_width), taken with `start`
    steps : In, taken with `start`: `steps_of(width)` where b has no more than `width` bits
    start : In(1), pulse
    done : Out(1), pulse
    product : Out(a_width + b_width), from `done` until the next `start`, after all steps of
        `b_width`; after fewer ones see `narrow`
    """

    def __init__(self, a_width, b_width):
        check_count("Width of a", a_width)
        check_count("Width of b", b_width)
        self._a_width = a_width
        self._steps = ceil_div(b_width, BITS)
        self.latency = self._steps + 1
        # One register for both: the bits of b that are still to come are its low ones, and as they
        # leave, the sum comes in above.
        self._product = Signal(a_width + self._steps * BITS)
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
        """Cycles for a factor b of so many bits."""
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
        # Shift and add from b's low end; `factor` stands still, and the sum moves down past it.
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
        """Inside a state of an FSM: a * b is started on entering it; returns `done`.

        b has `width` bits, by default all. In the cycle of `done` the state must end, or a and b
        be the next product's.
        """
        # Started over and over until it is done: the multiplier ignores all but the first.
        m.d.comb += [
            self.a.eq(a),
            self.b.eq(b),
            self.steps.eq(self._steps if width is None else self.steps_of(width)),
            self.start.eq(~self.done),
        ]
        return self.done
