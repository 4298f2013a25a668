# SPDX-License-Identifier: Apache-2.0
"""The functions after a linear layer: gelu_new, gelu and tanh (golden_model/gelu.py, golden_model/functions.py)."""

from amaranth import Cat, Const, Module, Mux, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Function
from golden_model.functions import Table, tanh_table
from golden_model.gelu import GELU_EDGE, gelu_table
from hw.arith.fixed import align, round_shift
from hw.arith.functions import table_memory
from hw.arith.requantize import count_saturated
from hw.shapes import ACT
from hw.stream import Pipeline

__all__ = ["Activation"]

FRACTION = (
    tanh_table().fraction_bits
)  # low bits of tanh's argument between two table entries; GELU's has fewer
GELU_FRACTION = gelu_table("gelu").fraction_bits
EDGE = GELU_EDGE.bit_length() - 1  # GELU's table covers -2^EDGE .. 2^EDGE
INDEX = ACT.width - FRACTION  # address bits of tanh's half of the ROM


class Activation(wiring.Component):
    """T values through the chosen function, one table of all three for each lane.

    x = saturate(round_shift(value, align), 16) in the function's fixed input format; y = base[i] + round_shift(slope[i] * fraction, fraction
    bits), i and fraction the high and low bits of x; for the GELUs x itself from +4 on and 0 below -4. NONE gives `value`, not aligned.
    Latency 6 cycles, one word per cycle; when `o` is stalled it holds all words.

    Parameters
    ----------
    config : HardwareConfig
    meta : width of what passes along unchanged

    Members
    -------
    function : In(4), a firmware.isa.Function
    align : In(signed(6)), fraction bits of `value` minus those of the function's input; both stable while words are inside
    i, o : streams of {values: ACT x T, live: T bits, meta}
    saturated : Out, lanes with `live` set that saturated when aligned: for one cycle, once for each word
    """

    def __init__(self, config, *, meta=0):
        self._lanes = config.tokens
        word = data.StructLayout(
            {"values": data.ArrayLayout(ACT, self._lanes), "live": self._lanes, "meta": meta}
        )
        super().__init__(
            {
                "function": In(4),
                "align": In(signed(6)),
                "i": In(stream.Signature(word)),
                "o": Out(stream.Signature(word)),
                "saturated": Out(range(self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self._lanes)
        none = self.function == Function.NONE
        aligned = [align(m, i.values[n], self.align) for n in lanes]
        count_saturated(m, pipeline, [flag & ~none for _, flag in aligned], i.live, self.saturated)
        word = pipeline.stage(
            x=[Mux(none, i.values[n], aligned[n][0]) for n in lanes], live=i.live, meta=i.meta
        )
        ports = [self._table(m, pipeline, n) for n in lanes]
        m.d.comb += [ports[n].addr.eq(self._address(word.x[n])) for n in lanes]
        word = pipeline.stage(**word.keep("x", "live", "meta"))  # the tables' registers
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
            *(o.values[n].eq(word.y[n]) for n in lanes), o.live.eq(word.live), o.meta.eq(word.meta)
        )
        return m

    def _table(self, m, pipeline, lane):
        """Read port of a lane's ROM: tanh, gelu_new, gelu, without their last entries, which no argument here reaches."""
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
        outside = (self.function != Function.TANH) & ((x[EDGE:] != 0) & ~x[EDGE:].all())
        return Mux(self.function == Function.NONE, x, Mux(outside, Mux(x[-1], 0, x), y)).as_signed()
