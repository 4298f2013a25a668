# SPDX-License-Identifier: Apache-2.0
"""The context's division by the softmax's denominators, after the product with V.

golden_model.softmax.context is the same in the golden model.
"""

from itertools import pairwise

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.softmax import factor_guard
from hw.arith import functions
from hw.arith.fixed import clamp_setting, round_shift, saturate
from hw.arith.functions import Reciprocal
from hw.arith.requantize import count_saturated
from hw.checks import check_shape
from hw.shapes import (
    ACT,
    CONTEXT_SHIFT,
    FACTOR,
    MANTISSA,
    accumulator,
    denominator,
    tile_mask,
    tile_values,
)
from hw.stream import Pipeline

__all__ = ["Normalize"]

LATENCY = 4  # cycles, from a word that may go through


def reciprocals(config):
    """Cycles from denominators to the first word through: one a cycle, and its latency."""
    return config.tokens + functions.LATENCY + 1


class Normalize(wiring.Component):
    """values = saturate(round_shift(factor * w, shift), 16), the context; T lanes.

    factor = round_shift(accumulator, p - g), (w, p) = reciprocal(denominator), and the guard bits
    g = golden_model.softmax.factor_guard. A set of T denominators serves the words up to one with
    `last`, and is taken when those of the set before have left; `reciprocals` cycles later its
    words go through. Latency `LATENCY` cycles, one word a cycle. Stalled: all words are held.

    Parameters
    ----------
    config : HardwareConfig
    meta : shape of what passes along unchanged
    stalls : whether `o` may be stalled, see `Pipeline`

    Members
    -------
    shift : In(CONTEXT_SHIFT), golden_model.softmax.context_shift; stable while words are inside
    i_denominators : In(stream of denominator x T)
    i : In(stream of {accumulators: accumulator x T, live: T bits, meta, last}), `last` of its
        denominators
    o : Out(stream of {values: ACT x T, live: T bits, meta})
    saturated : Out(range(T + 1)), lanes with `live` set that saturated: for one cycle, once a word
    """

    def __init__(self, config, *, meta=0, stalls=True):
        check_shape("Meta", meta)
        self._stalls = stalls
        self.config = config
        self._lanes = config.tokens
        accumulators = data.ArrayLayout(accumulator(config), self._lanes)
        denominators = data.ArrayLayout(denominator(config), self._lanes)
        passing = {"live": tile_mask(config), "meta": meta}
        super().__init__(
            {
                "shift": In(CONTEXT_SHIFT),
                "i_denominators": In(stream.Signature(denominators)),
                "i": In(
                    stream.Signature(
                        data.StructLayout({"accumulators": accumulators, **passing, "last": 1})
                    )
                ),
                "o": Out(
                    stream.Signature(data.StructLayout({"values": tile_values(config), **passing}))
                ),
                "saturated": Out(range(self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        serving = Signal()  # a set of denominators is here
        ready = Signal()  # so are its reciprocals
        empty = Signal()  # no word is inside
        reciprocals = self._reciprocals(m, serving, ready, empty)
        gated = stream.Signature(self.i.payload.shape()).create()
        # `last` closes the gate behind its word: the next set's words wait for its reciprocals.
        m.d.comb += [
            gated.valid.eq(self.i.valid & ready),
            self.i.ready.eq(gated.ready & ready),
        ]
        with m.If(gated.valid & gated.ready & self.i.payload.last):
            m.d.sync += serving.eq(0)
        pipeline = self._divide(m, gated, reciprocals)
        m.d.comb += empty.eq(pipeline.empty())
        return m

    def _divide(self, m, words, reciprocals):
        """The pipeline from the stream `words` to `o`."""
        lanes = range(self._lanes)
        i = self.i.payload
        o = self.o.payload
        self.pipeline = pipeline = Pipeline(m, words, self.o, stalls=self._stalls)
        # The accumulator is first brought near 1, by the place of the denominator's leading one: a
        # multiplier of 18 x 17 bits then does where one as wide as the accumulator would be needed.
        guard = factor_guard(self.config.format)
        low = min(0, -guard)
        scaled = [
            round_shift(
                m, i.accumulators[n], (reciprocals[n].position + -(low + guard)).as_unsigned(), low
            )
            for n in lanes
        ]
        word = pipeline.stage(
            factor=[scaled[n][: FACTOR.width].as_signed() for n in lanes], live=i.live, meta=i.meta
        )
        word = pipeline.stage(
            product=[word.factor[n] * reciprocals[n].mantissa for n in lanes],
            **word.keep("live", "meta"),
        )
        # Further than that all is shifted out: the shifter is no wider.
        shift = clamp_setting(m, self.shift, 0, FACTOR.width + MANTISSA.width + 1)
        word = pipeline.stage(
            shifted=[round_shift(m, word.product[n], shift) for n in lanes],
            **word.keep("live", "meta"),
        )
        # Rows that do not exist compute as well, on whatever is there: they do not count.
        clamped = [saturate(m, word.shifted[n], ACT.width) for n in lanes]
        count_saturated(m, pipeline, [flag for _, flag in clamped], word.live, self.saturated)
        word = pipeline.stage(value=[value for value, _ in clamped], **word.keep("live", "meta"))
        pipeline.output(
            *(o.values[n].eq(word.value[n]) for n in lanes),
            o.live.eq(word.live),
            o.meta.eq(word.meta),
        )
        return pipeline

    def _reciprocals(self, m, serving, ready, empty):
        """The T reciprocals of a set; `ready` when they are there."""
        # One unit for all lanes, since a set serves many words: denominators shift out of one chain
        # and the results into another.
        shape = self.i_denominators.payload[0].shape()
        t = self._lanes
        m.submodules.reciprocal = unit = Reciprocal(len(self.i_denominators.payload[0]))
        waiting = [Signal(shape, name=f"denominator_{n}") for n in range(t)]
        results = [Signal(unit.o.payload.shape(), name=f"reciprocal_{n}") for n in range(t)]
        given = Signal(range(t + 1), init=t)
        got = Signal(range(t + 1), init=t)
        m.d.comb += [
            ready.eq(serving & (got == t)),
            self.i_denominators.ready.eq(~serving & empty),
            unit.i.valid.eq(given != t),
            unit.i.payload.z.eq(waiting[0]),
            unit.o.ready.eq(1),
        ]
        with m.If(unit.i.valid & unit.i.ready):
            m.d.sync += [
                given.eq(given + 1),
                *(here.eq(after) for here, after in pairwise(waiting)),
            ]
        with m.If(unit.o.valid):
            m.d.sync += [
                got.eq(got + 1),
                *(here.eq(after) for here, after in pairwise([*results, unit.o.payload])),
            ]
        # The next set comes when the words of this one have left, for they read the results.
        with m.If(self.i_denominators.valid & self.i_denominators.ready):
            m.d.sync += [
                serving.eq(1),
                given.eq(0),
                got.eq(0),
                *(waiting[n].eq(self.i_denominators.payload[n]) for n in range(t)),
            ]
        return results
