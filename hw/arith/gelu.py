# SPDX-License-Identifier: Apache-2.0
"""The functions after a linear layer: gelu_new, gelu and tanh (golden_model/gelu.py)."""

from amaranth import Cat, Const, Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Function
from golden_model.functions import Table, tanh_table
from golden_model.gelu import GELU_EDGE, gelu_table
from hw.arith.fixed import align, round_shift, saturate
from hw.arith.functions import table_memory
from hw.arith.requantize import count_saturated
from hw.checks import check_shape
from hw.shapes import ACT, ALIGN, FUNCTION, tile_mask, tile_values
from hw.stream import Pipeline

__all__ = ["Activation"]

LATENCY = 8  # cycles

# Low bits of the argument, between two entries of the table; GELU's has fewer.
FRACTION = tanh_table().fraction_bits
GELU_FRACTION = gelu_table("gelu").fraction_bits
EDGE = GELU_EDGE.bit_length() - 1  # GELU's table covers -2^EDGE .. 2^EDGE


class Activation(wiring.Component):
    """y = base[i] + round_shift(slope[i] * fraction, fraction bits), T lanes.

    i and fraction are the high and low bits of x = saturate(round_shift(value, align), 16), in the
    function's own input format; for the GELUs y is x itself from +4 on and 0 below -4. NONE gives
    `value`, not aligned. Latency `LATENCY` cycles, one word a cycle. Stalled: all words are held.

    Parameters
    ----------
    config : HardwareConfig
    meta : shape of what passes along unchanged
    stalls : whether `o` may be stalled, see `Pipeline`

    Members
    -------
    function : In(FUNCTION), a firmware.isa.Function; stable while words are inside
    align : In(ALIGN), fraction bits of `value` minus those of the function's input; stable likewise
    i : In(stream of {values: ACT x T, live: T bits, meta})
    o : Out(stream of {values: ACT x T, live: T bits, meta})
    saturated : Out(range(T + 1)), lanes with `live` set that saturated when aligned: for one cycle,
        once a word
    """

    def __init__(self, config, *, meta=0, stalls=True):
        check_shape("Meta", meta)
        self._stalls = stalls
        self._lanes = config.tokens
        word = data.StructLayout(
            {"values": tile_values(config), "live": tile_mask(config), "meta": meta}
        )
        super().__init__(
            {
                "function": In(FUNCTION),
                "align": In(ALIGN),
                "i": In(stream.Signature(word)),
                "o": Out(stream.Signature(word)),
                "saturated": Out(range(self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self.pipeline = pipeline = Pipeline(m, self.i, self.o, stalls=self._stalls)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self._lanes)
        # NONE takes the same way, so that words stay in order: only the last stage knows it again.
        none = self.function == Function.NONE
        # A register in front: a word may come from two places.
        word = pipeline.stage(x=[i.values[n] for n in lanes], live=i.live, meta=i.meta)
        aligned = [align(m, word.x[n], self.align) for n in lanes]
        word = pipeline.stage(
            x=[Mux(none, word.x[n], aligned[n]).as_signed() for n in lanes],
            **word.keep("live", "meta"),
        )
        clamped = [saturate(m, word.x[n], ACT.width) for n in lanes]
        count_saturated(m, pipeline, [flag for _, flag in clamped], word.live, self.saturated)
        word = pipeline.stage(x=[value for value, _ in clamped], **word.keep("live", "meta"))
        ports = [self._table(m, pipeline, n) for n in lanes]
        m.d.comb += [ports[n].addr.eq(self._address(word.x[n])) for n in lanes]
        # The tables' own registers, and one behind: a block RAM's data comes late in the cycle.
        word = pipeline.stage(**word.keep("x", "live", "meta"))
        word = pipeline.stage(
            entry=[ports[n].data for n in lanes], **word.keep("x", "live", "meta")
        )
        word = pipeline.stage(
            base=[word.entry[n].base for n in lanes],
            **word.keep("x", "live", "meta"),
            product=[word.entry[n].slope * self._fraction(word.x[n]) for n in lanes],
        )
        word = pipeline.stage(
            y=[
                (word.base[n] + round_shift(m, word.product[n], FRACTION))[: ACT.width].as_signed()
                for n in lanes
            ],
            **word.keep("x", "live", "meta"),
        )
        word = pipeline.stage(
            y=[self._choose(word.x[n], word.y[n]) for n in lanes], **word.keep("live", "meta")
        )
        pipeline.output(
            *(o.values[n].eq(word.y[n]) for n in lanes),
            o.live.eq(word.live),
            o.meta.eq(word.meta),
        )
        return m

    def _table(self, m, pipeline, lane):
        """Read port of a lane's ROM: tanh, gelu_new, gelu, one behind the other."""
        # A ROM for each lane, since all lanes look up at once. No argument here reaches a table's
        # last entry, and without those the tables fill a power of two of words.
        tables = [
            self._without_end(table)
            for table in (tanh_table(), gelu_table("gelu_new"), gelu_table("gelu"))
        ]
        memory = table_memory(tables)
        m.submodules[f"table_{lane}"] = memory
        port = memory.read_port()
        m.d.comb += port.en.eq(pipeline.enable)
        return port

    def _without_end(self, table):
        """A copy of a golden-model table, which is shared, without its last entry."""
        table = Table(table.base, table.fraction_bits)
        table.base, table.slope = table.base[:-1], table.slope[:-1]
        return table

    def _address(self, x):
        """tanh: x + 2^15; GELU: x + 2^EDGE, inside -2^EDGE .. 2^EDGE."""
        tanh = Cat(x[FRACTION:-1], ~x[-1], Const(0, 1))
        gelu = Cat(x[GELU_FRACTION:EDGE], ~x[EDGE], self.function == Function.GELU, Const(1, 1))
        return Mux(self.function == Function.TANH, tanh, gelu)

    def _fraction(self, x):
        """The low bits of x, GELU's moved up to as many as tanh's: the rounding stays the same."""
        return Mux(
            self.function == Function.TANH,
            x[:FRACTION],
            x[:GELU_FRACTION] << (FRACTION - GELU_FRACTION),
        )

    def _choose(self, x, y):
        """The result: the value itself for NONE, a GELU's ends outside its table, or y."""
        # x is outside when the bits above the table's range, the sign among them, do not agree.
        outside = (self.function != Function.TANH) & ((x[EDGE:] != 0) & ~x[EDGE:].all())
        return Mux(self.function == Function.NONE, x, Mux(outside, Mux(x[-1], 0, x), y)).as_signed()
