# SPDX-License-Identifier: Apache-2.0
"""The span mask of attention's numerators (golden_model/softmax.py, `mask_numerator`)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import SPAN_FRAC
from hw.arith.fixed import round_shift
from hw.shapes import EXPONENTIAL, HEAD, PARAMETER, POSITION, SPAN
from hw.stream import Pipeline

__all__ = ["SpanMask", "numerators_layout", "span_write_layout"]

LATENCY = 5  # cycles of `SpanMask`


def numerators_layout(config):
    """One key's numerators before encoding, for T queries.

    position : the key's original position
    last : of the query tile
    """
    return data.StructLayout(
        {
            "exponentials": data.ArrayLayout(EXPONENTIAL, config.tokens),
            "position": POSITION,
            "last": 1,
        }
    )


def span_write_layout():
    """An entry of the mask: address = head * config.positions + distance."""
    return data.StructLayout({"address": PARAMETER, "data": SPAN})


class SpanMask(wiring.Component):
    """e <- round_shift(e * mask[head, |query position - key position|], 8), for T queries, one key.

    Latency `LATENCY` cycles, one key a cycle. Stalled: all keys are held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    head : In(HEAD), among the live ones
    query_positions : In(T x POSITION); both stable while keys are inside
    span_write : In(stream of span_write_layout), always ready
    i, o : In, Out(stream of numerators_layout)
    """

    def __init__(self, config):
        self.config = config
        numerators = stream.Signature(numerators_layout(config))
        super().__init__(
            {
                "head": In(HEAD),
                "query_positions": In(data.ArrayLayout(POSITION, config.tokens)),
                "span_write": In(stream.Signature(span_write_layout())),
                "i": In(numerators),
                "o": Out(numerators),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self.config.tokens)
        positions = self.config.positions
        # The entry of this head's distance 0, in a register: the head changes between tiles alone,
        # so the product need not be in the path of the keys.
        first = Signal(range(self.config.heads * positions))
        m.d.sync += first.eq(self.head * positions)
        m.d.comb += self.span_write.ready.eq(1)
        distances = [self._distance(m, self.query_positions[n], i.position) for n in lanes]
        word = pipeline.stage(
            address=[(first + distance)[: len(first)] for distance in distances],
            e=[i.exponentials[n] for n in lanes],
            position=i.position,
            last=i.last,
        )
        masks = [self._mask(m, pipeline, n, word.address[n]) for n in lanes]
        # The memories' own registers, then others behind them: a block RAM's data comes late in
        # the cycle, and a multiplier is behind it.
        word = pipeline.stage(**word.keep("e", "position", "last"))
        word = pipeline.stage(mask=masks, **word.keep("e", "position", "last"))
        word = pipeline.stage(
            product=[word.e[n] * word.mask[n] for n in lanes], **word.keep("position", "last")
        )
        rounded = [round_shift(m, word.product[n], SPAN_FRAC) for n in lanes]
        word = pipeline.stage(
            e=[rounded[n][: EXPONENTIAL.width] for n in lanes], **word.keep("position", "last")
        )
        pipeline.output(
            *(o.exponentials[n].eq(word.e[n]) for n in lanes),
            o.position.eq(word.position),
            o.last.eq(word.last),
        )
        return m

    def _distance(self, m, query, key):
        """|query - key|, and 0 for what is no position: a lane without a row."""
        distance = Signal(POSITION, name="distance")
        m.d.comb += distance.eq(Mux(query > key, query - key, key - query))
        # Such a lane's numerator counts for nobody, but its address must be in the memory.
        return Mux(distance < self.config.positions, distance, 0)

    def _mask(self, m, pipeline, lane, address):
        """A lane's entry of the mask, in the pipeline's next stage."""
        # Each lane has its own copy, because each query has another distance to the key.
        m.submodules[f"span_{lane}"] = memory = Memory(
            shape=SPAN, depth=self.config.heads * self.config.positions, init=[]
        )
        read = memory.read_port()
        write = memory.write_port()
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(pipeline.enable & pipeline.valid),
            write.en.eq(self.span_write.valid),
            # An address that nobody drives would spoil the memory of a simulator with four states.
            write.addr.eq(Mux(self.span_write.valid, self.span_write.payload.address, 0)),
            write.data.eq(self.span_write.payload.data),
        ]
        return read.data
