# SPDX-License-Identifier: Apache-2.0
"""exp of the distance below a maximum, one value per cycle; for the blocks that work on one row of numbers."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC, EXP_IN_BITS
from golden_model.functions import EXP_LOW_BITS, EXP_TABLE_FRAC, exp_tables
from hw.arith.fixed import clamp, round_shift
from hw.shapes import ACT, EXPONENTIAL
from hw.stream import Pipeline

__all__ = ["ALIGN", "DISTANCE", "Exponential"]

ALIGN = signed(6)  # fraction bits of the ACT minus those of DISTANCE
DISTANCE = unsigned(EXP_IN_BITS)  # 11 fraction bits


class Exponential(wiring.Component):
    """distance = min(round_shift(maximum - value, align), 2^16 - 1); exponential = exp(-distance) by two tables.

    Latency 6 cycles, one value per cycle; all stages hold when the output is stalled.

    Parameters
    ----------
    meta : width of what passes along unchanged

    Members
    -------
    align : In(ALIGN), stable while values are in flight
    i : In(stream of {value: ACT, maximum: ACT, meta}), value <= maximum
    o : Out(stream of {distance: DISTANCE, exponential: EXPONENTIAL, meta})
    """

    def __init__(self, *, meta=0):
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
        tables = [
            Memory(shape=EXP_TABLE_FRAC + 1, depth=len(table), init=table) for table in exp_tables()
        ]
        m.submodules.high_table, m.submodules.low_table = tables
        high, low = (table.read_port() for table in tables)

        pipeline = Pipeline(m, self.i, self.o)
        difference = Signal(unsigned(ACT.width + 1))
        m.d.comb += difference.eq(self.i.payload.maximum - self.i.payload.value)
        word = pipeline.stage(difference=difference, meta=self.i.payload.meta)
        word = pipeline.stage(distance=self._distance(m, word.difference), **word.keep("meta"))
        m.d.comb += [
            high.addr.eq(word.distance >> EXP_LOW_BITS),
            low.addr.eq(word.distance[:EXP_LOW_BITS]),
            high.en.eq(pipeline.enable),
            low.en.eq(pipeline.enable),
        ]
        word = pipeline.stage(
            **word.keep("distance", "meta")
        )  # the tables' read registers, slow in a block RAM
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
        """The difference at exp's scale. Amounts beyond the ends shift everything out, to 0 or to the largest."""
        low = -DISTANCE.width
        high = len(difference) + 1
        shifted = round_shift(m, difference, clamp(m, self.align, low, high), low, high)
        distance = Signal(DISTANCE)
        m.d.comb += distance.eq(Mux(shifted[DISTANCE.width :].any(), -1, shifted))
        return distance
