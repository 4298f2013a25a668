# SPDX-License-Identifier: Apache-2.0
"""Functions of a normalised argument by table and linear interpolation: reciprocal and 1/sqrt (golden_model/functions.py)."""

from amaranth import Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import MANTISSA_FRAC
from golden_model.functions import reciprocal_table, rsqrt_table
from hw.arith.fixed import normalise, round_shift
from hw.stream import Pipeline

__all__ = ["MANTISSA", "Reciprocal", "Rsqrt", "table_memory"]

MANTISSA = unsigned(MANTISSA_FRAC + 1)  # 2^15 .. 2^16, and 0 for the function of 0


def table_memory(tables):
    """ROM of {base, slope} with the entries of golden-model `tables` one after another."""
    base = [x for table in tables for x in table.base]
    slope = [x for table in tables for x in table.slope]
    layout = data.StructLayout({"base": _range_shape(base), "slope": _range_shape(slope)})
    return Memory(
        shape=layout,
        depth=len(base),
        init=[{"base": b, "slope": s} for b, s in zip(base, slope, strict=True)],
    )


def _range_shape(values):
    """The smallest shape that holds all values."""
    return Shape.cast(range(min(*values, 0), max(*values, 1) + 1))


class _Normalised(wiring.Component):
    """z is shifted until its leading one stands at a fixed place and rounded to u; a table with linear interpolation takes u.

    z = 0 gives mantissa 0. Latency 6 cycles, one argument per cycle; holds all when `o` is stalled.

    Parameters
    ----------
    width : of z, at least 18

    Members
    -------
    i : In(stream of {z: unsigned(width), meta})
    o : Out(stream of {mantissa: MANTISSA, position, meta})
    """

    def __init__(self, width, *, meta=0):
        if width < MANTISSA.width + 1:
            raise ValueError(f"Width must be at least {MANTISSA.width + 1}, not {width}")
        self._width = width
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"z": width, "meta": meta}))),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"mantissa": MANTISSA, "position": range(width), "meta": meta}
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        table = self.table()
        memory = table_memory([self.table()])
        m.submodules.table = memory
        read = memory.read_port()
        bits = table.fraction_bits
        pipeline = Pipeline(m, self.i, self.o)
        shifted, position = normalise(m, self.i.payload.z)
        word = pipeline.stage(shifted=shifted, position=position, meta=self.i.payload.meta)
        u, position = self.scale(m, word.shifted, word.position)
        word = pipeline.stage(u=u[: MANTISSA.width], position=position, meta=word.meta)
        m.d.comb += [
            read.addr.eq(self.index(word.u)),
            read.en.eq(pipeline.enable),
        ]
        word = pipeline.stage(
            fraction=word.u[:bits], some=word.u.any(), **word.keep("position", "meta")
        )  # the table's register
        word = pipeline.stage(entry=read.data, **word.keep("fraction", "some", "position", "meta"))
        word = pipeline.stage(
            base=word.entry.base,
            product=word.entry.slope * word.fraction,
            **word.keep("some", "position", "meta"),
        )
        mantissa = Mux(word.some, word.base + round_shift(m, word.product, bits), 0)
        word = pipeline.stage(mantissa=mantissa[: MANTISSA.width], **word.keep("position", "meta"))
        pipeline.output(
            self.o.payload.mantissa.eq(word.mantissa),
            self.o.payload.position.eq(word.position),
            self.o.payload.meta.eq(word.meta),
        )
        return m


class Reciprocal(_Normalised):
    """1 / z = mantissa * 2^-(16 + position), position that of z's leading one; ports and latency as `_Normalised`."""

    def table(self):
        return reciprocal_table()

    def scale(self, m, shifted, position):
        return round_shift(m, shifted, self._width - 16), position

    def index(self, u):
        return Cat(u[7:15], u[16])  # of u - 2^15, which is 0 .. 2^15


class Rsqrt(_Normalised):
    """1 / sqrt(z) = mantissa * 2^-(16 + position), position half that of z's leading one; ports and latency as `_Normalised`."""

    def table(self):
        return rsqrt_table()

    def scale(self, m, shifted, position):
        doubled = Signal(self._width + 1, name="doubled")
        m.d.comb += doubled.eq(Mux(position[0], shifted << 1, shifted))
        return round_shift(m, doubled, self._width - 15), position >> 1

    def index(self, u):
        return u[8:]
