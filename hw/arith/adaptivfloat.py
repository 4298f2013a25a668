# SPDX-License-Identifier: Apache-2.0
"""Codes of AdaptivFloat<n,e> and int8: decoder (combinational) and encoder (pipelined). golden_model/adaptivfloat.py specifies both."""

from amaranth import Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fixed import clamp, normalise, round_shift
from hw.shapes import ACT, code
from hw.stream import Pipeline

__all__ = ["Encoder", "decode"]


def decode(code, fmt):
    """The integer d of a code, signed(fmt.decoded_bits), combinational; both zero codes read as zero."""
    sign = code[fmt.bits - 1]
    magnitude = code[: fmt.bits - 1]
    if not fmt.is_adaptivfloat:
        return (code & (magnitude.any() | ~sign).replicate(fmt.bits)).as_signed()
    m = fmt.mantissa
    shifted = Cat(magnitude[:m], magnitude.any()) << magnitude[m:]
    negated = Cat(shifted ^ sign.replicate(len(shifted)), sign) + sign
    return negated[: fmt.decoded_bits].as_signed()


class Encoder(wiring.Component):
    """T fixed-point values to codes of the config's format: golden_model.adaptivfloat.encode_fixed.

    code = nearest code of value * 2^-frac under the tensor's bias b, ties to even, clamped; only offset = frac + b matters.
    Latency 3 cycles, one word per cycle; when `o` is stalled it holds all words.

    Parameters
    ----------
    config : HardwareConfig
    meta : width of what passes along unchanged
    shape : of one value; any signed or unsigned shape

    Members
    -------
    offset : In(signed(8)), frac + b (int8: frac + the scale's exponent); stable while words are inside
    i : In(stream of {values: shape x T, meta})
    o : Out(stream of {codes: code x T, meta})
    """

    def __init__(self, config, *, meta=0, shape=ACT):
        self._format = config.format
        self._lanes = config.tokens
        self._shape = Shape.cast(shape)
        self._bits = self._shape.width  # |value| < 2^bits
        super().__init__(
            {
                "offset": In(signed(8)),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {"values": data.ArrayLayout(shape, self._lanes), "meta": meta}
                        )
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"codes": data.ArrayLayout(code(config), self._lanes), "meta": meta}
                        )
                    )
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        values = self.i.payload.values
        lanes = range(self._lanes)
        negative = [values[n][-1] & self._shape.signed for n in lanes]
        word = pipeline.stage(
            magnitude=[Mux(negative[n], -values[n], values[n])[: self._bits] for n in lanes],
            negative=negative,
            meta=self.i.payload.meta,
        )
        scale, finish = (
            (self._scale, self._finish)
            if self._format.is_adaptivfloat
            else (self._scale_int8, self._finish_int8)
        )
        word = pipeline.stage(
            scaled=[scale(m, word.magnitude[n]) for n in lanes],
            negative=word.negative,
            meta=word.meta,
        )
        word = pipeline.stage(
            code=[finish(m, word.scaled[n], word.negative[n]) for n in lanes], meta=word.meta
        )
        pipeline.output(
            *(self.o.payload.codes[n].eq(word.code[n]) for n in lanes),
            self.o.payload.meta.eq(word.meta),
        )
        return m

    def _scale(self, m, magnitude):
        """(whether not zero, bits - 1 bits after the leading one, exponent E) side by side."""
        shifted, position = normalise(m, magnitude)
        exponent = Signal(signed(9), name="exponent")
        m.d.comb += exponent.eq(position - self.offset)
        return Cat(shifted[-1], shifted[:-1], exponent)

    def _finish(self, m, scaled, negative):
        """The code: E and the fraction rounded to m bits, clamped; zero at or below half the smallest value."""
        fmt = self._format
        point = self._bits - 1
        linear = scaled[1:].as_signed()
        rounded = round_shift(m, linear, point - fmt.mantissa)
        zero = ~scaled[0] | (linear <= (1 << (point - fmt.mantissa)) - (1 << point))
        magnitude = Signal(fmt.bits - 1, name="code_magnitude")
        m.d.comb += magnitude.eq(Mux(zero, 0, clamp(m, rounded, 1, (1 << (fmt.bits - 1)) - 1)))
        return Cat(magnitude, negative & magnitude.any())

    def _scale_int8(self, m, magnitude):
        """The magnitude rounded, held below 128: seven bits up clamp, all bits and one down vanish."""
        rounded = round_shift(
            m, magnitude, clamp(m, self.offset, -7, self._bits + 1), -7, self._bits + 1
        )
        return Mux(rounded > 127, 127, rounded)[:7]

    def _finish_int8(self, m, scaled, negative):
        return Mux(negative, -scaled, scaled)[:8] | Const(0, 8)
