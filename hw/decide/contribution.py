# SPDX-License-Identifier: Apache-2.0
"""Softmax numerators of the contribution predictor's values, for one sentence (golden_model/contribution.py)."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arith.exponential import ALIGN, Exponential
from hw.shapes import ACT, EXPONENTIAL, index

__all__ = ["Contribution", "total"]


def total(config):
    """Shape of a sum of numerators of one sentence, Q.16."""
    return unsigned((config.positions << (EXPONENTIAL.width - 1)).bit_length())


class Contribution(wiring.Component):
    """e_i = exp(x_i - max x), sum = sum of e_i, for i = 0 .. count-1.

    Three passes over one memory: store and find the maximum; replace each value by its numerator and add up; give them.
    Latency count + 9 cycles from the last value to the first numerator, then one per cycle. Takes no value from the last
    one of a sentence until its last numerator has gone. Holds its output when stalled.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    count : In, live tokens, 1 .. positions
    align : In(ALIGN), see `Exponential`; both stable from the first value to the last numerator
    i : In(stream of {value: ACT}), `count` predictor values in row order
    sum : Out(total(config)), from the first numerator until the last value of the next sentence
    o : Out(stream of {exponential: EXPONENTIAL, last})
    """

    def __init__(self, config):
        self._config = config
        super().__init__(
            {
                "count": In(index(config.positions + 1)),
                "align": In(ALIGN),
                "i": In(stream.Signature(data.StructLayout({"value": ACT}))),
                "sum": Out(total(config)),
                "o": Out(
                    stream.Signature(data.StructLayout({"exponential": EXPONENTIAL, "last": 1}))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=EXPONENTIAL, depth=self._config.positions, init=[]
        )
        m.submodules.exponential = exponential = Exponential()
        read = memory.read_port()
        write = memory.write_port()
        asked = Signal.like(self.count)
        done = Signal.like(self.count)  # words read and words written, or given
        maximum = Signal(ACT)
        fetched = Signal()
        more = asked != self.count
        m.d.comb += [
            read.addr.eq(Mux(more, asked, 0)),
            read.en.eq(~self.o.valid | self.o.ready),
            write.addr.eq(done),
            write.data.eq(
                Mux(exponential.o.valid, exponential.o.payload.exponential, self.i.payload.value)
            ),
            exponential.align.eq(self.align),
            exponential.i.payload.value.eq(read.data),
            exponential.i.payload.maximum.eq(maximum),
            exponential.o.ready.eq(1),
            self.o.payload.exponential.eq(read.data),
            self.o.payload.last.eq(~more),
        ]
        with m.FSM():
            with m.State("Store"):
                m.d.comb += [
                    self.i.ready.eq(1),
                    write.en.eq(self.i.valid),
                ]
                with m.If(self.i.valid):
                    self._store(m, done, maximum)
                    self._count(m, done, asked, "Exponentiate")
            with m.State("Exponentiate"):
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
                    self._count(m, done, asked, "Give")
            with m.State("Give"):
                m.d.comb += self.o.valid.eq(fetched)
                with m.If(read.en):
                    m.d.sync += [
                        fetched.eq(more),
                        asked.eq(asked + more),
                    ]
                    with m.If(fetched & ~more):
                        m.d.sync += asked.eq(0)
                        m.next = "Store"
        return m

    def _store(self, m, done, maximum):
        value = self.i.payload.value
        with m.If((done == 0) | (value > maximum)):
            m.d.sync += maximum.eq(value)

    def _count(self, m, done, asked, then):
        """Count a word of a pass; after the last one start the next pass."""
        m.d.sync += done.eq(done + 1)
        with m.If(done == self.count - 1):
            m.d.sync += [
                asked.eq(0),
                done.eq(0),
            ]
            m.next = then
