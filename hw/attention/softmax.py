# SPDX-License-Identifier: Apache-2.0
"""Attention's softmax, normalized once after the product with V (golden_model/softmax.py)."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC, SPAN_FRAC
from golden_model.softmax import numerator_bias
from hw.arith import adaptivfloat, exponential
from hw.arith.adaptivfloat import Encoder, decode
from hw.arith.exponential import ALIGN, Exponential
from hw.arith.fixed import round_shift
from hw.shapes import ACT, EXPONENTIAL, code, denominator
from hw.stream import Pipeline, connect

__all__ = ["Softmax", "SpanMask", "span_layout"]

STORED = 3  # cycles from a score into the store of scores to the exponential of the first one
MASK = 5  # of `SpanMask`


def latency(config):
    """Cycles from a tile's last score to its first numerator."""
    mask = MASK if "span" in config.units else 0
    return STORED + exponential.LATENCY + mask + adaptivfloat.LATENCY


SPAN = unsigned(SPAN_FRAC + 1)  # Q0.8, 256 = 1
POSITION = unsigned(16)


def span_layout(config):
    """One key's numerators before encoding."""
    return data.StructLayout(
        {
            "exponentials": data.ArrayLayout(EXPONENTIAL, config.tokens),
            "position": POSITION,
            "last": 1,
        }
    )


class SpanMask(wiring.Component):
    """exponential <- round_shift(exponential * mask[head, |query position - key position|], 8), for T queries and one key.

    Latency `MASK` cycles, one key per cycle; holds all when `o` is stalled. Each lane has its own copy of the mask memory.

    Members
    -------
    head : In(8); query_positions : In(POSITION x T); both stable while keys are inside
    span_write : In(stream of {address = head * config.positions + distance, data: SPAN}), always ready
    i, o : streams of {exponentials: EXPONENTIAL x T, position of the key, last}
    """

    def __init__(self, config):
        self._config = config
        word = span_layout(config)
        super().__init__(
            {
                "head": In(8),
                "query_positions": In(data.ArrayLayout(POSITION, config.tokens)),
                "span_write": In(
                    stream.Signature(data.StructLayout({"address": 16, "data": SPAN}))
                ),
                "i": In(stream.Signature(word)),
                "o": Out(stream.Signature(word)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pipeline = Pipeline(m, self.i, self.o)
        i = self.i.payload
        o = self.o.payload
        lanes = range(self._config.tokens)
        positions = self._config.positions
        first = Signal(range(self._config.heads * positions))  # entry of this head's distance 0
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
        word = pipeline.stage(**word.keep("e", "position", "last"))  # the memories' registers
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
        """|query - key|, and 0 for what is no position (lanes without a row)."""
        distance = Signal(POSITION, name="distance")
        m.d.comb += distance.eq(Mux(query > key, query - key, key - query))
        return Mux(distance < self._config.positions, distance, 0)

    def _mask(self, m, pipeline, lane, address):
        m.submodules[f"span_{lane}"] = memory = Memory(
            shape=SPAN, depth=self._config.heads * self._config.positions, init=[]
        )
        read = memory.read_port()
        write = memory.write_port()
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(pipeline.enable & pipeline.valid),
            write.en.eq(self.span_write.valid),
            write.addr.eq(Mux(self.span_write.valid, self.span_write.payload.address, 0)),
            write.data.eq(self.span_write.payload.data),
        ]
        return read.data


class Softmax(wiring.Component):
    """Numerators of one tile of T queries: e = exp(score - row maximum), times the span mask, encoded; and their decoded sums.

    First `length` scores come in (one key per cycle) and are stored; then as many numerators go out, in the same order, the first `latency` cycles after
    the last score, one per cycle; then the denominators, once. Takes no score from a tile's last one until its
    denominators are taken. Holds all when `o` or `o_denominator` is stalled.

    Members
    -------
    length : In, keys, 1 .. positions; align : In(ALIGN), fraction bits of the scores minus 11; head, query_positions : see `SpanMask`;
        all stable from the first score until the denominators are taken
    span_write : see `SpanMask`; ignored when the config has no unit "span"
    i : In(stream of {scores: ACT x T, position: the key's original position})
    o : Out(stream of {codes: code x T, last})
    o_denominator : Out(stream of denominator x T)
    """

    def __init__(self, config):
        self._config = config
        lanes = config.tokens
        super().__init__(
            {
                "length": In(range(config.positions + 1)),
                "align": In(ALIGN),
                "head": In(8),
                "query_positions": In(data.ArrayLayout(POSITION, lanes)),
                "span_write": In(
                    stream.Signature(data.StructLayout({"address": 16, "data": SPAN}))
                ),
                "i": In(
                    stream.Signature(
                        data.StructLayout(
                            {"scores": data.ArrayLayout(ACT, lanes), "position": POSITION}
                        )
                    )
                ),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"codes": data.ArrayLayout(code(config), lanes), "last": 1}
                        )
                    )
                ),
                "o_denominator": Out(
                    stream.Signature(data.ArrayLayout(denominator(config), lanes))
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        maxima = Signal(data.ArrayLayout(ACT, self._config.tokens))
        key = Signal.like(self.length)
        final = Signal()
        storing = Signal()
        words = stream.Signature(
            data.StructLayout({"key": self.i.payload.shape(), "last": 1})
        ).create()
        asked = stream.Signature(Signal.like(key).shape()).create()
        m.d.comb += [
            final.eq(key + 1 == self.length),
            asked.payload.eq(key),
        ]
        self._store(m, key, final, storing, asked, words)
        self._numerators(m, words, maxima)
        with m.If(self.o.valid & self.o.ready):
            for total, number in zip(self.o_denominator.payload, self.o.payload.codes, strict=True):
                m.d.sync += total.eq(total + decode(number, self._config.format))
        with m.FSM():
            with m.State("Store"):  # take the scores, find the maxima
                m.d.comb += [
                    self.i.ready.eq(1),
                    storing.eq(self.i.valid),
                ]
                with m.If(self.i.valid):
                    m.d.sync += key.eq(Mux(final, 0, key + 1))
                    for maximum, score in zip(maxima, self.i.payload.scores, strict=True):
                        with m.If((key == 0) | (score > maximum)):
                            m.d.sync += maximum.eq(score)
                    with m.If(final):
                        m.d.sync += self.o_denominator.payload.eq(0)
                        m.next = "Emit"
            with m.State("Emit"):  # ask for the stored scores, one after another
                m.d.comb += asked.valid.eq(1)
                with m.If(asked.ready):
                    m.d.sync += key.eq(Mux(final, 0, key + 1))
                    with m.If(final):
                        m.next = "Drain"
            with m.State("Drain"):  # until the last numerator has gone
                with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                    m.next = "Denominators"
            with m.State("Denominators"):
                m.d.comb += self.o_denominator.valid.eq(1)
                with m.If(self.o_denominator.ready):
                    m.next = "Store"
        return m

    def _store(self, m, key, final, storing, asked, words):
        """The score memory, written at `key` while `storing`, read at `asked` into `words`."""
        m.submodules.scores = memory = Memory(
            shape=self.i.payload.shape(), depth=self._config.positions, init=[]
        )
        read = memory.read_port()
        write = memory.write_port()
        pipeline = Pipeline(m, asked, words)
        m.d.comb += [
            write.en.eq(storing),
            write.addr.eq(key),
            write.data.eq(self.i.payload),
            read.en.eq(pipeline.accepted),
            read.addr.eq(asked.payload),
        ]
        word = pipeline.stage(last=final)  # the memory's register
        word = pipeline.stage(key=read.data, last=word.last)
        pipeline.output(words.payload.key.eq(word.key), words.payload.last.eq(word.last))

    def _numerators(self, m, words, maxima):
        """exp in T lanes in step, the span mask, the encoder."""
        m.submodules.encoder = encoder = Encoder(self._config, meta=1, shape=EXPONENTIAL)
        lanes = [
            Exponential(meta=POSITION.width + 1),
            *(Exponential() for _ in range(self._config.tokens - 1)),
        ]
        m.d.comb += [
            words.ready.eq(lanes[0].i.ready),
            lanes[0].i.payload.meta.eq(Cat(words.payload.key.position, words.payload.last)),
            encoder.offset.eq(EXP_FRAC + numerator_bias(self._config.format)),
            self.span_write.ready.eq(1),
            self.o.payload.codes.eq(encoder.o.payload.codes),
            self.o.payload.last.eq(encoder.o.payload.meta),
            self.o.valid.eq(encoder.o.valid),
            encoder.o.ready.eq(self.o.ready),
        ]
        masked = stream.Signature(span_layout(self._config)).create()
        if "span" in self._config.units:
            m.submodules.span = span = SpanMask(self._config)
            m.d.comb += [
                span.head.eq(self.head),
                span.query_positions.eq(self.query_positions),
            ]
            connect(m, span.span_write, wiring.flipped(self.span_write))
            exponentials = span.i
            masked = span.o
        else:
            exponentials = masked
        for n, lane in enumerate(lanes):
            m.submodules[f"exponential_{n}"] = lane
            m.d.comb += [
                lane.align.eq(self.align),
                lane.i.valid.eq(words.valid),
                lane.o.ready.eq(exponentials.ready),
                lane.i.payload.value.eq(words.payload.key.scores[n]),
                lane.i.payload.maximum.eq(maxima[n]),
                exponentials.payload.exponentials[n].eq(lane.o.payload.exponential),
            ]
        m.d.comb += [
            exponentials.valid.eq(lanes[0].o.valid),
            Cat(exponentials.payload.position, exponentials.payload.last).eq(
                lanes[0].o.payload.meta
            ),
            encoder.i.valid.eq(masked.valid),
            masked.ready.eq(encoder.i.ready),
            encoder.i.payload.values.eq(masked.payload.exponentials),
            encoder.i.payload.meta.eq(masked.payload.last),
        ]
