# SPDX-License-Identifier: Apache-2.0
"""Accumulator to ACT: golden_model/requantize.py."""

from amaranth import Module, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fixed import count, round_shift, saturate
from hw.shapes import ACT, accumulator
from hw.stream import Pipeline

__all__ = ["Requantize", "count_saturated"]


def count_saturated(m, pipeline, flags, live, port):
    """A register stage's twin: `port` shows for one cycle how many live lanes of the word that leaves the last stage were `flags`ged."""
    m.d.sync += port.eq(0)
    with m.If(pipeline.enable & pipeline.valid):
        m.d.sync += port.eq(count([flag & live[n] for n, flag in enumerate(flags)]))


class Requantize(wiring.Component):
    """values = saturate(round_shift(accumulator + bias, shift), 16) for T lanes.

    Latency 3 cycles, one word per cycle; when `o` is stalled it holds all words.

    Parameters
    ----------
    config : HardwareConfig
    meta : width of what passes along unchanged

    Members
    -------
    shift : In(unsigned(6)), stable while words are inside
    i : In(stream of {accumulators: accumulator x T, bias: accumulator, one for all lanes, live: T bits, meta})
    o : Out(stream of {values: ACT x T, live, meta})
    saturated : Out, lanes with `live` set that saturated: for one cycle, once for each word
    """

    def __init__(self, config, *, meta=0):
        self._lanes = config.tokens
        shape = accumulator(config)
        super().__init__(
            {
                "shift": In(unsigned(6)),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "accumulators": data.ArrayLayout(shape, self._lanes),
                                "bias": shape,
                                "live": self._lanes,
                                "meta": meta,
                            }
                        )
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "values": data.ArrayLayout(ACT, self._lanes),
                                "live": self._lanes,
                                "meta": meta,
                            }
                        )
                    )
                ),
                "saturated": Out(range(self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self._lanes)
        word = pipeline.stage(
            sum=[i.accumulators[n] + i.bias for n in lanes], live=i.live, meta=i.meta
        )
        word = pipeline.stage(
            shifted=[round_shift(m, word.sum[n], self.shift) for n in lanes],
            live=word.live,
            meta=word.meta,
        )
        clamped = [saturate(m, word.shifted[n], ACT.width) for n in lanes]
        count_saturated(m, pipeline, [flag for _, flag in clamped], word.live, self.saturated)
        word = pipeline.stage(value=[value for value, _ in clamped], live=word.live, meta=word.meta)
        pipeline.output(
            *(o.values[n].eq(word.value[n]) for n in lanes),
            o.live.eq(word.live),
            o.meta.eq(word.meta),
        )
        return m
