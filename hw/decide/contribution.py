# SPDX-License-Identifier: Apache-2.0
"""Softmax numerators of one sentence's predictor values (golden_model/contribution.py)."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arith.exponential import Exponential
from hw.shapes import ACT, ALIGN, EXPONENTIAL, index

__all__ = ["Contribution", "total"]


def total(config):
    """Shape of a sum of numerators of one sentence, Q.16."""
    return unsigned((config.positions << (EXPONENTIAL.width - 1)).bit_length())


class Contribution(wiring.Component):
    """e_i = exp(x_i - max x), sum = sum of e_i, for i = 0 .. count-1.

    Latency count + 9 cycles from the last value to the first numerator, then one a cycle. No value
    is taken from the last one of a sentence until its last numerator has gone. Stalled: the
    numerator on `o` is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    count : In(index(positions + 1)), live tokens, at least 1
    align : In(ALIGN), see `Exponential`; both stable from the first value to the last numerator
    i : In(stream of {value: ACT}), `count` predictor values in row order
    sum : Out(total), from the first numerator until the last value of the next sentence
    o : Out(stream of {exponential: EXPONENTIAL, last})
    """

    def __init__(self, config):
        self.config = config
        numerator = data.StructLayout({"exponential": EXPONENTIAL, "last": 1})
        super().__init__(
            {
                "count": In(index(config.positions + 1)),
                "align": In(ALIGN),
                "i": In(stream.Signature(data.StructLayout({"value": ACT}))),
                "sum": Out(total(config)),
                "o": Out(stream.Signature(numerator)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # One memory for values and numerators: a numerator takes the place of its value, which
        # nobody wants any more.
        m.submodules.memory = memory = Memory(
            shape=EXPONENTIAL, depth=self.config.positions, init=[]
        )
        read = memory.read_port()
        write = memory.write_port()
        asked = Signal.like(self.count)  # words read
        done = Signal.like(self.count)  # words written, or given
        maximum = Signal(ACT)
        exponential = self._exponential(m, read.data, maximum)
        fetched = Signal()  # the read port holds a word of this pass
        more = asked != self.count
        m.d.comb += [
            read.addr.eq(Mux(more, asked, 0)),
            read.en.eq(~self.o.valid | self.o.ready),
            write.addr.eq(done),
            write.data.eq(
                Mux(exponential.o.valid, exponential.o.payload.exponential, self.i.payload.value)
            ),
            self.o.payload.exponential.eq(read.data),
            self.o.payload.last.eq(~more),
        ]
        with m.FSM():
            # Values are stored, and the largest is found.
            with m.State("STORE"):
                m.d.comb += [
                    self.i.ready.eq(1),
                    write.en.eq(self.i.valid),
                ]
                with m.If(self.i.valid):
                    self._store(m, done, maximum)
                    self._count(m, done, asked, "EXPONENTIATE")
            # Each value becomes its numerator, which is added up.
            with m.State("EXPONENTIATE"):
                m.d.comb += [
                    exponential.i.valid.eq(fetched),
                    write.en.eq(exponential.o.valid),
                ]
                m.d.sync += [
                    fetched.eq(more),
                    asked.eq(asked + more),
                ]
                with m.If(exponential.o.valid):
                    m.d.sync += self.sum.eq(
                        Mux(done == 0, 0, self.sum) + exponential.o.payload.exponential
                    )
                    self._count(m, done, asked, "GIVE")
            # The numerators are given; the sum is complete, as the drop rule wants it.
            with m.State("GIVE"):
                m.d.comb += self.o.valid.eq(fetched)
                with m.If(read.en):
                    self._give(m, asked, fetched, more)
        return m

    def _exponential(self, m, value, maximum):
        """exp(value - maximum), which nothing stalls: the memory takes a numerator a cycle."""
        m.submodules.exponential = exponential = Exponential()
        m.d.comb += [
            exponential.align.eq(self.align),
            exponential.i.payload.value.eq(value),
            exponential.i.payload.maximum.eq(maximum),
            exponential.o.ready.eq(1),
        ]
        return exponential

    def _store(self, m, done, maximum):
        """The largest value so far."""
        value = self.i.payload.value
        # Known before the first exponential, so that every numerator is at most 1.
        with m.If((done == 0) | (value > maximum)):
            m.d.sync += maximum.eq(value)

    def _give(self, m, asked, fetched, more):
        """`o` moves on; behind the last numerator the next sentence's values are taken."""
        m.d.sync += [
            fetched.eq(more),
            asked.eq(asked + more),
        ]
        with m.If(fetched & ~more):
            m.d.sync += asked.eq(0)
            m.next = "STORE"

    def _count(self, m, done, asked, then):
        """Count a word of a pass; after the last one start the next pass."""
        m.d.sync += done.eq(done + 1)
        with m.If(done == self.count - 1):
            m.d.sync += [
                asked.eq(0),
                done.eq(0),
            ]
            m.next = then
