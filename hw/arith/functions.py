# SPDX-License-Identifier: Apache-2.0
"""Reciprocal and 1/sqrt by table and linear interpolation (golden_model/functions.py)."""

from amaranth import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import MANTISSA_FRAC
from golden_model.functions import reciprocal_table, rsqrt_table
from hw.arith.fixed import normalize, round_shift
from hw.checks import check_count, check_shape
from hw.shapes import MANTISSA
from hw.stream import Pipeline

__all__ = ["Reciprocal", "Rsqrt", "table_memory"]

LATENCY = 7  # cycles


def table_memory(tables):
    """ROM of {base, slope} with the entries of golden-model `tables` one after another."""
    # Slopes are stored, not made of two entries: one look-up instead of two, and no subtraction.
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


class _Normalized(wiring.Component):
    """A function of z: mantissa = f(u), u = z shifted until its leading one is at a fixed place.

    u is rounded; f is a table with linear interpolation. z = 0 gives mantissa 0. Latency
    `LATENCY` cycles, one argument a cycle. Stalled: all stages hold.

    Parameters
    ----------
    width : of z, at least 18
    meta : shape of what passes along unchanged

    Members
    -------
    i : In(stream of {z: unsigned(width), meta})
    o : Out(stream of {mantissa: MANTISSA, position: range(width), meta})
    """

    def __init__(self, width, *, meta=0):
        # One bit more than the mantissa: less would leave nothing to round.
        check_count("Width", width, MANTISSA.width + 1)
        check_shape("Meta", meta)
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
        m.submodules.table = memory = table_memory([table])
        read = memory.read_port()
        bits = table.fraction_bits
        # Shift (two stages), scale, look up (two), multiply, add.
        self.pipeline = pipeline = Pipeline(m, self.i, self.o)
        halfway = []

        def between(shifted, position):
            word = pipeline.stage(shifted=shifted, position=position, meta=self.i.payload.meta)
            halfway.append(word)
            return word.shifted, word.position

        shifted, position = normalize(m, self.i.payload.z, between)
        word = pipeline.stage(shifted=shifted, position=position, meta=halfway[0].meta)
        u, position = self.scale(m, word.shifted, word.position)
        word = pipeline.stage(u=u[: MANTISSA.width], position=position, meta=word.meta)
        m.d.comb += [
            read.addr.eq(self.index(word.u)),
            read.en.eq(pipeline.enable),
        ]
        # The table's own register, and one behind it: a block RAM's data comes late in the cycle.
        word = pipeline.stage(
            fraction=word.u[:bits], some=word.u.any(), **word.keep("position", "meta")
        )
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


# What differs between the two functions is the table, how u is made and which bits index the table.


class Reciprocal(_Normalized):
    """1 / z = mantissa * 2^-(16 + position), position that of z's leading one.

    Latency `LATENCY` cycles, one argument a cycle. Stalled: all stages hold.

    Parameters
    ----------
    width : of z, at least 18
    meta : shape of what passes along unchanged

    Members
    -------
    i : In(stream of {z: unsigned(width), meta})
    o : Out(stream of {mantissa: MANTISSA, position: range(width), meta})
    """

    def table(self):
        """The golden model's table."""
        return reciprocal_table()

    def scale(self, m, shifted, position):
        """(u = 2^15 .. 2^16 of z shifted to the top, the position of the result)."""
        return round_shift(m, shifted, self._width - MANTISSA_FRAC), position

    def index(self, u):
        """The table's entry for u: its high bits, of u - 2^15, which is 0 .. 2^15."""
        low = self.table().fraction_bits
        # u is 2^15 .. 2^16: bit 15 says nothing but at the upper end, where bit 16 is set.
        return Cat(u[low : MANTISSA_FRAC - 1], u[MANTISSA_FRAC])


class Rsqrt(_Normalized):
    """1 / sqrt(z) = mantissa * 2^-(16 + position), position half that of z's leading one.

    Latency `LATENCY` cycles, one argument a cycle. Stalled: all stages hold.

    Parameters
    ----------
    width : of z, at least 18
    meta : shape of what passes along unchanged

    Members
    -------
    i : In(stream of {z: unsigned(width), meta})
    o : Out(stream of {mantissa: MANTISSA, position: range(width), meta})
    """

    def table(self):
        """The golden model's table."""
        return rsqrt_table()

    def scale(self, m, shifted, position):
        """(u of z shifted to the top, the position of the result)."""
        # The root halves the position; the factor 2 that an odd one leaves over goes into u.
        doubled = Signal(self._width + 1, name="doubled")
        m.d.comb += doubled.eq(Mux(position[0], shifted << 1, shifted))
        return round_shift(m, doubled, self._width - (MANTISSA_FRAC - 1)), position >> 1

    def index(self, u):
        """The table's entry for u: its high bits."""
        return u[self.table().fraction_bits :]
