# SPDX-License-Identifier: Apache-2.0
"""Accumulator to ACT: golden_model/requantize.py."""

from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.arith.fixed import count, round_shift, saturate
from hw.checks import check_shape
from hw.shapes import ACT, SHIFT, accumulator, tile_mask, tile_values
from hw.stream import Pipeline

__all__ = ["Requantize", "count_saturated"]

LATENCY = 3  # cycles


def count_saturated(m, pipeline, flags, live, port):
    """`port` shows, for one cycle, how many live lanes of a word are in `flags`.

    It is a register beside the pipeline's next stage: the word is the one that enters that stage.
    """
    # Back to 0 after a cycle: a word that waits in the stage is counted once.
    m.d.sync += port.eq(0)
    with m.If(pipeline.enable & pipeline.valid):
        m.d.sync += port.eq(count([flag & live[n] for n, flag in enumerate(flags)]))


class Requantize(wiring.Component):
    """values = saturate(round_shift(accumulator + bias, shift), 16), T lanes.

    Latency `LATENCY` cycles, one word a cycle. Stalled: all words are held.

    Parameters
    ----------
    config : HardwareConfig
    meta : shape of what passes along unchanged

    Members
    -------
    shift : In(SHIFT), fraction bits of the accumulators minus those of the result; stable while
        words are inside
    i : In(stream of {accumulators: accumulator x T, bias: accumulator, live: T bits, meta}), one
        bias for all lanes
    o : Out(stream of {values: ACT x T, live: T bits, meta})
    saturated : Out(range(T + 1)), lanes with `live` set that saturated: for one cycle, once a word
    """

    def __init__(self, config, *, meta=0):
        check_shape("Meta", meta)
        self._lanes = config.tokens
        shape = accumulator(config)
        passing = {"live": tile_mask(config), "meta": meta}
        word = {"accumulators": data.ArrayLayout(shape, self._lanes), "bias": shape}
        super().__init__(
            {
                "shift": In(SHIFT),
                "i": In(stream.Signature(data.StructLayout({**word, **passing}))),
                "o": Out(
                    stream.Signature(data.StructLayout({"values": tile_values(config), **passing}))
                ),
                "saturated": Out(range(self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The bias has the accumulator's scale, so it is added before any bit is dropped.
        self.pipeline = pipeline = Pipeline(m, self.i, self.o)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self._lanes)
        # Three stages because each is an adder or a wide shifter: add, shift and round, clamp.
        word = pipeline.stage(
            sum=[i.accumulators[n] + i.bias for n in lanes], live=i.live, meta=i.meta
        )
        word = pipeline.stage(
            shifted=[round_shift(m, word.sum[n], self.shift) for n in lanes],
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
        return m
