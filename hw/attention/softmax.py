# SPDX-License-Identifier: Apache-2.0
"""Attention's softmax: numerators and their sums (golden_model/softmax.py).

The division comes once, behind the product with V: hw/array/normalize.py.
"""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC
from golden_model.softmax import numerator_bias
from hw.arith import adaptivfloat, exponential
from hw.arith.adaptivfloat import Encoder, decode
from hw.arith.exponential import Exponential
from hw.attention import span_mask
from hw.attention.span_mask import SpanMask, numerators_layout, span_write_layout
from hw.shapes import (
    ACT,
    ALIGN,
    EXPONENTIAL,
    HEAD,
    POSITION,
    denominator,
    tile_codes,
    tile_values,
)
from hw.stream import Pipeline, connect

__all__ = ["Softmax", "latency"]

STORED = 3  # cycles from a score into the store of scores to the exponential of the first one


def latency(config):
    """Cycles from a tile's last score to its first numerator."""
    mask = span_mask.LATENCY if "span" in config.units else 0
    return STORED + exponential.LATENCY + mask + adaptivfloat.LATENCY


class Softmax(wiring.Component):
    """Numerators of a tile of T queries, exp(score - row maximum) times the span mask, encoded.

    And their decoded sums. First `length` scores come in, one key a cycle, and are stored; then as
    many numerators go out in the same order; then the denominators, once. Latency `latency` from
    the last score to the first numerator, then one key a cycle. No score is taken from a tile's
    last one until its denominators are taken. Stalled on `o` or `o_denominator`: all is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    length : In(range(positions + 1)), keys, at least 1
    align : In(ALIGN), fraction bits of the scores minus 11
    head : In(HEAD), see `SpanMask`
    query_positions : In(T x POSITION), see `SpanMask`; these four are stable from the first score
        until the denominators are taken
    span_write : In(stream of span_write_layout); ignored without the unit "span"
    i : In(stream of {scores: ACT x T, position: POSITION}), of a key
    o : Out(stream of {codes: code x T, last})
    o_denominator : Out(stream of denominator x T)
    """

    def __init__(self, config):
        self.config = config
        lanes = config.tokens
        scores = data.StructLayout({"scores": tile_values(config), "position": POSITION})
        numerators = data.StructLayout({"codes": tile_codes(config), "last": 1})
        denominators = data.ArrayLayout(denominator(config), lanes)
        super().__init__(
            {
                "length": In(range(config.positions + 1)),
                "align": In(ALIGN),
                "head": In(HEAD),
                "query_positions": In(data.ArrayLayout(POSITION, lanes)),
                "span_write": In(stream.Signature(span_write_layout())),
                "i": In(stream.Signature(scores)),
                "o": Out(stream.Signature(numerators)),
                "o_denominator": Out(stream.Signature(denominators)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The maximum comes off first, so that no argument of exp is positive and every numerator
        # is at most 1.
        maxima = Signal(data.ArrayLayout(ACT, self.config.tokens))
        key = Signal.like(self.length)  # of the next score
        final = Signal()  # it is the last one
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
        # The codes' sum and not the numerators': a row then sums to one as the array sees it.
        with m.If(self.o.valid & self.o.ready):
            for total, number in zip(self.o_denominator.payload, self.o.payload.codes, strict=True):
                # Never negative: without its sign it is decoded in half the time.
                m.d.sync += total.eq(
                    total + decode(Cat(number[:-1], Const(0, 1)), self.config.format)
                )
        with m.FSM():
            # Scores are taken, and each row's maximum is found.
            with m.State("STORE"):
                m.d.comb += [
                    self.i.ready.eq(1),
                    storing.eq(self.i.valid),
                ]
                with m.If(self.i.valid):
                    self._maximum(m, key, maxima)
                    m.d.sync += key.eq(Mux(final, 0, key + 1))
                    with m.If(final):
                        m.d.sync += self.o_denominator.payload.eq(0)
                        m.next = "EMIT"
            # The stored scores are asked for, one after another.
            with m.State("EMIT"):
                m.d.comb += asked.valid.eq(1)
                with m.If(asked.ready):
                    m.d.sync += key.eq(Mux(final, 0, key + 1))
                    with m.If(final):
                        m.next = "DRAIN"
            # Until the last numerator has gone.
            with m.State("DRAIN"):
                with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                    m.next = "DENOMINATORS"
            # The sums are complete, and offered.
            with m.State("DENOMINATORS"):
                m.d.comb += self.o_denominator.valid.eq(1)
                with m.If(self.o_denominator.ready):
                    m.next = "STORE"
        return m

    def _maximum(self, m, key, maxima):
        """Each lane's largest score so far."""
        for maximum, score in zip(maxima, self.i.payload.scores, strict=True):
            with m.If((key == 0) | (score > maximum)):
                m.d.sync += maximum.eq(score)

    def _store(self, m, key, final, storing, asked, words):
        """The score memory, written at `key` while `storing`, read at `asked` into `words`."""
        # Scores and not numerators are kept: the maximum is known behind the last one.
        m.submodules.scores = memory = Memory(
            shape=self.i.payload.shape(), depth=self.config.positions, init=[]
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
        # Two stages: the memory's own register, and one behind it.
        word = pipeline.stage(last=final)
        word = pipeline.stage(key=read.data, last=word.last)
        pipeline.output(
            words.payload.key.eq(word.key),
            words.payload.last.eq(word.last),
        )

    def _numerators(self, m, words, maxima):
        """Stored scores to `o`: the exponential, the span mask, the encoder."""
        exponentials, masked = self._mask(m)
        self._exponentiate(m, words, maxima, exponentials)
        self._encode(m, masked)

    def _mask(self, m):
        """(i, o) of the span mask: without the unit "span" one stream."""
        m.d.comb += self.span_write.ready.eq(1)
        if "span" not in self.config.units:
            nothing = stream.Signature(numerators_layout(self.config)).create()
            return nothing, nothing
        m.submodules.span = span = SpanMask(self.config)
        m.d.comb += [
            span.head.eq(self.head),
            span.query_positions.eq(self.query_positions),
        ]
        connect(m, span.span_write, wiring.flipped(self.span_write))
        return span.i, span.o

    def _exponentiate(self, m, words, maxima, o):
        """T exponentials in step, from a stored word to `o`."""
        # They move together, so what goes along with the scores goes through the first one alone.
        along = Cat(words.payload.key.position, words.payload.last)
        first = Exponential(meta=len(along))
        lanes = [first, *(Exponential() for _ in range(self.config.tokens - 1))]
        m.d.comb += [
            words.ready.eq(first.i.ready),
            first.i.payload.meta.eq(along),
        ]
        for n, lane in enumerate(lanes):
            m.submodules[f"exponential_{n}"] = lane
            m.d.comb += [
                lane.align.eq(self.align),
                lane.i.valid.eq(words.valid),
                lane.o.ready.eq(o.ready),
                lane.i.payload.value.eq(words.payload.key.scores[n]),
                lane.i.payload.maximum.eq(maxima[n]),
                o.payload.exponentials[n].eq(lane.o.payload.exponential),
            ]
        m.d.comb += [
            o.valid.eq(first.o.valid),
            Cat(o.payload.position, o.payload.last).eq(first.o.payload.meta),
        ]

    def _encode(self, m, masked):
        """The encoder, with the numerators' own bias, from `masked` to `o`."""
        m.submodules.encoder = encoder = Encoder(self.config, meta=1, shape=EXPONENTIAL)
        m.d.comb += [
            encoder.offset.eq(EXP_FRAC + numerator_bias(self.config.format)),
            encoder.i.valid.eq(masked.valid),
            masked.ready.eq(encoder.i.ready),
            encoder.i.payload.values.eq(masked.payload.exponentials),
            encoder.i.payload.meta.eq(masked.payload.last),
            self.o.valid.eq(encoder.o.valid),
            encoder.o.ready.eq(self.o.ready),
            self.o.payload.codes.eq(encoder.o.payload.codes),
            self.o.payload.last.eq(encoder.o.payload.meta),
        ]
