# SPDX-License-Identifier: Apache-2.0
"""The drop rule on a stream of softmax numerators (golden_model/token_drop.py)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.formats import ETA_FRAC
from hw.decide.contribution import total
from hw.shapes import ETA, EXPONENTIAL, index

__all__ = ["TokenDrop"]


class TokenDrop(wiring.Component):
    """keep_i = i = 0, or (count * e_i) << 16 >= eta * sum. Equality keeps; row 0 is [CLS].

    Latency 2 cycles from the first numerator to its acceptance, 2 more to the verdict; then one
    row a cycle. Stalled: the verdict on `o` is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    count : In(index(positions + 1)), live tokens, at least 1
    sum : In(total), sum of the numerators
    eta : In(ETA); all three stable from the first numerator to the last verdict
    i : In(stream of {exponential: EXPONENTIAL}), `count` numerators in row order
    o : Out(stream of {index, exponential: EXPONENTIAL, keep, last}), `index` from 0
    """

    def __init__(self, config):
        number = index(config.positions)
        verdict = {"index": number, "exponential": EXPONENTIAL, "keep": 1, "last": 1}
        super().__init__(
            {
                "count": In(index(config.positions + 1)),
                "sum": In(total(config)),
                "eta": In(ETA),
                "i": In(stream.Signature(data.StructLayout({"exponential": EXPONENTIAL}))),
                "o": Out(stream.Signature(data.StructLayout(verdict))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows = Signal()  # numerators are taken
        enable = Signal()  # the stages move
        multiplied = Signal()  # `product` is a row's
        last = Signal()  # the row on `i` is the last one
        number = Signal.like(self.o.payload.index)
        row = Signal.like(self.o.payload)  # the row of `product`
        product = Signal(ETA.width + len(self.sum))
        limit = Signal(ETA.width + len(self.sum))
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(rows & enable),
            last.eq(number == self.count - 1),
        ]
        # e / mean >= eta without a division: both sides are multiplied by count and by sum. One
        # multiplier makes both products, because eta * sum is wanted once for a sentence.
        with m.If(enable):
            m.d.sync += [
                product.eq(
                    self._multiply(
                        Mux(rows, self.i.payload.exponential, self.eta),
                        Mux(rows, self.count, self.sum),
                    )
                ),
                multiplied.eq(self.i.valid & self.i.ready),
                row.index.eq(number),
                row.exponential.eq(self.i.payload.exponential),
                row.last.eq(last),
                self.o.valid.eq(multiplied),
                self.o.payload.eq(row),
                self.o.payload.keep.eq((row.index == 0) | ((product << ETA_FRAC) >= limit)),
            ]
        with m.FSM():
            # eta * sum, when the rows of the sentence before have left `product`.
            with m.State("MULTIPLY"):
                with m.If(self.i.valid & enable & ~multiplied):
                    m.next = "LIMIT"
            # It is kept for all rows.
            with m.State("LIMIT"):
                m.d.sync += limit.eq(product)
                m.next = "ROWS"
            # A row a cycle.
            with m.State("ROWS"):
                m.d.comb += rows.eq(1)
                with m.If(self.i.valid & enable):
                    m.d.sync += number.eq(Mux(last, 0, number + 1))
                    with m.If(last):
                        m.next = "MULTIPLY"
        return m

    def _multiply(self, a, b):
        """a * b; a proof puts any function of both in its place."""
        return a * b
