# SPDX-License-Identifier: Apache-2.0
"""Codes of AdaptivFloat<n,e> and int8, decoded and encoded (golden_model/adaptivfloat.py)."""

from amaranth import Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fixed import clamp, clamp_setting, normalize, round_shift
from hw.checks import check_shape
from hw.shapes import ACT, OFFSET, tile_codes
from hw.stream import Pipeline

__all__ = ["Encoder", "decode"]

LATENCY = 3  # cycles of `Encoder`


def decode(code, fmt):
    """The integer d of a code, signed(fmt.decoded_bits), combinational; both zero codes are 0."""
    sign = code[fmt.bits - 1]
    magnitude = code[: fmt.bits - 1]
    if not fmt.is_adaptivfloat:
        return (code & (magnitude.any() | ~sign).replicate(fmt.bits)).as_signed()
    # A leading one in front of the mantissa unless the magnitude is 0: there are no subnormals.
    m = fmt.mantissa
    shifted = Cat(magnitude[:m], magnitude.any()) << magnitude[m:]
    negated = Cat(shifted ^ sign.replicate(len(shifted)), sign) + sign
    return negated[: fmt.decoded_bits].as_signed()


class Encoder(wiring.Component):
    """code = nearest code of value * 2^-frac under the bias b, ties to even, clamped; T lanes.

    As golden_model.adaptivfloat.encode_fixed. Only offset = frac + b matters. Latency `LATENCY`
    cycles, one word a cycle. Stalled: all words are held.

    Parameters
    ----------
    config : HardwareConfig, with the format
    meta : shape of what passes along unchanged
    shape : of one value, signed or not
    stalls : whether `o` may be stalled, see `Pipeline`

    Members
    -------
    offset : In(OFFSET), frac + b (int8: frac + the scale's exponent); stable while words are inside
    i : In(stream of {values: shape x T, meta})
    o : Out(stream of {codes: code x T, meta})
    """

    def __init__(self, config, *, meta=0, shape=ACT, stalls=True):
        check_shape("Meta", meta)
        check_shape("Value", shape)
        self._stalls = stalls
        self.config = config
        self._format = config.format
        self._lanes = config.tokens
        self._shape = Shape.cast(shape)
        self._bits = self._shape.width  # |value| < 2^bits
        super().__init__(
            {
                "offset": In(OFFSET),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {"values": data.ArrayLayout(shape, self._lanes), "meta": meta}
                        )
                    )
                ),
                "o": Out(
                    stream.Signature(data.StructLayout({"codes": tile_codes(config), "meta": meta}))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self.pipeline = pipeline = Pipeline(m, self.i, self.o, stalls=self._stalls)
        values = self.i.payload.values
        lanes = range(self._lanes)
        # Rounding to even is the same on both sides of 0, so signs wait beside the magnitudes.
        negative = [values[n][-1] & self._shape.signed for n in lanes]
        word = pipeline.stage(
            magnitude=[Mux(negative[n], -values[n], values[n])[: self._bits] for n in lanes],
            negative=negative,
            meta=self.i.payload.meta,
        )
        scale = self._scale if self._format.is_adaptivfloat else self._scale_int8
        finish = self._finish if self._format.is_adaptivfloat else self._finish_int8
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
        shifted, position = normalize(m, magnitude)
        exponent = Signal(signed(OFFSET.width + 1), name="exponent")
        m.d.comb += exponent.eq(position - self.offset)
        return Cat(shifted[-1], shifted[:-1], exponent)

    def _finish(self, m, scaled, negative):
        """The code: E and the fraction rounded to m bits, clamped.

        Zero where the magnitude is at most half the smallest value.
        """
        # Exponent and fraction side by side are one number, linear from binade to binade: a
        # fraction that rounds up to 2 carries into the exponent by itself.
        fmt = self._format
        point = self._bits - 1
        linear = scaled[1:].as_signed()
        rounded = round_shift(m, linear, point - fmt.mantissa)
        zero = ~scaled[0] | (linear <= (1 << (point - fmt.mantissa)) - (1 << point))
        magnitude = Signal(fmt.bits - 1, name="code_magnitude")
        m.d.comb += magnitude.eq(Mux(zero, 0, clamp(m, rounded, 1, (1 << (fmt.bits - 1)) - 1)))
        return Cat(magnitude, negative & magnitude.any())

    def _scale_int8(self, m, magnitude):
        """The magnitude rounded, at most 127."""
        # Seven bits up clamp whatever is not 0, all bits and one down give 0: further amounts do
        # the same, so the shifter is no wider.
        rounded = round_shift(
            m, magnitude, clamp_setting(m, self.offset, -7, self._bits + 1), -7, self._bits + 1
        )
        return Mux(rounded > 127, 127, rounded)[:7]

    def _finish_int8(self, m, scaled, negative):
        """The byte in two's complement; -128 does not occur."""
        return Mux(negative, -scaled, scaled)[:8] | Const(0, 8)
