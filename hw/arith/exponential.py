# SPDX-License-Identifier: Apache-2.0
"""exp of the distance below a maximum, a value a cycle (golden_model/functions.py)."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC
from golden_model.functions import EXP_LOW_BITS, EXP_TABLE_FRAC, exp_tables
from hw.arith.fixed import clamp_setting, round_shift
from hw.checks import check_shape
from hw.shapes import ACT, ALIGN, DISTANCE, EXPONENTIAL
from hw.stream import Pipeline

__all__ = ["Exponential"]

LATENCY = 6  # cycles


class Exponential(wiring.Component):
    """exponential = exp(-distance), distance = min(round_shift(maximum - value, align), 2^16 - 1).

    Latency `LATENCY` cycles, one value a cycle. Stalled: all stages hold.

    Parameters
    ----------
    meta : shape of what passes along unchanged

    Members
    -------
    align : In(ALIGN), fraction bits of `value` minus those of DISTANCE; stable while values are
        inside
    i : In(stream of {value: ACT, maximum: ACT, meta}), value <= maximum
    o : Out(stream of {distance: DISTANCE, exponential: EXPONENTIAL, meta})
    """

    def __init__(self, *, meta=0):
        check_shape("Meta", meta)
        super().__init__(
            {
                "align": In(ALIGN),
                "i": In(
                    stream.Signature(
                        data.StructLayout({"value": ACT, "maximum": ACT, "meta": meta})
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"distance": DISTANCE, "exponential": EXPONENTIAL, "meta": meta}
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # exp(-(a + b)) = exp(-a) exp(-b): two small tables, of the high and of the low bits of the
        # distance, and a multiplier, in place of one table of 2^16 entries.
        tables = [
            Memory(shape=EXP_TABLE_FRAC + 1, depth=len(table), init=table) for table in exp_tables()
        ]
        m.submodules.high_table, m.submodules.low_table = tables
        high, low = (table.read_port() for table in tables)

        self.pipeline = pipeline = Pipeline(m, self.i, self.o)
        difference = Signal(unsigned(ACT.width + 1))
        m.d.comb += difference.eq(self.i.payload.maximum - self.i.payload.value)
        # The maximum is the larger one, so the difference has no sign.
        word = pipeline.stage(difference=difference, meta=self.i.payload.meta)
        word = pipeline.stage(distance=self._distance(m, word.difference), **word.keep("meta"))
        m.d.comb += [
            high.addr.eq(word.distance >> EXP_LOW_BITS),
            low.addr.eq(word.distance[:EXP_LOW_BITS]),
            high.en.eq(pipeline.enable),
            low.en.eq(pipeline.enable),
        ]
        # The tables' own registers, and one behind: a block RAM's data comes late in the cycle.
        word = pipeline.stage(**word.keep("distance", "meta"))
        word = pipeline.stage(high=high.data, low=low.data, **word.keep("distance", "meta"))
        word = pipeline.stage(product=word.high * word.low, **word.keep("distance", "meta"))
        result = round_shift(m, word.product, 2 * EXP_TABLE_FRAC - EXP_FRAC)
        word = pipeline.stage(
            exponential=result[: EXPONENTIAL.width], **word.keep("distance", "meta")
        )
        pipeline.output(
            self.o.payload.distance.eq(word.distance),
            self.o.payload.exponential.eq(word.exponential),
            self.o.payload.meta.eq(word.meta),
        )
        return m

    def _distance(self, m, difference):
        """The difference at exp's scale, at most the largest distance."""
        # Amounts beyond these ends shift everything out, to 0 or to the largest.
        low = -DISTANCE.width
        high = len(difference) + 1
        shifted = round_shift(m, difference, clamp_setting(m, self.align, low, high), low, high)
        distance = Signal(DISTANCE)
        m.d.comb += distance.eq(Mux(shifted[DISTANCE.width :].any(), -1, shifted))
        return distance
