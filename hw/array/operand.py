# SPDX-License-Identifier: Apache-2.0
"""The array's activation operand: a tile from the residual stream, a LayerNorm output or a code buffer, as codes."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Source
from hw.arith.adaptivfloat import Encoder
from hw.array.linear import tile_request_layout
from hw.buffer import request_layout
from hw.progress import has_written, progress_layout
from hw.shapes import ACT, code

__all__ = ["BUFFERS", "Operand"]

BUFFERS = ("normed", "codes")  # sources that are read as they are, not gathered


class Operand(wiring.Component):
    """Asks the source for the words of a tile and streams them as codes.

    One word a cycle where the source gives one; ACT words pass the encoder (its latency). Stalled: holds its word and the source's. Of a source
    that is still being written (`follow`) a word is read when it is there.

    Members
    -------
    i : stream of `tile_request_layout()`
    source, features, encode : quasi-static while not `idle`: which source, words in a tile, the encoder's offset
    follow, progress : the source's operation has not ended, and how far it is
    gather_request, gather_words : see `Gather`
    normed_request, normed_words, codes_request, codes_words (with _index, _hold) : see `Buffer`
    o : stream of {"codes", "last"}
    idle : no tile is asked for that has not gone
    """

    def __init__(self, config, gather_layout):
        self.config = config
        t = config.tokens
        acts = stream.Signature(data.StructLayout({"values": data.ArrayLayout(ACT, t), "last": 1}))
        codes = data.ArrayLayout(code(config), t)
        super().__init__(
            {
                "i": In(stream.Signature(tile_request_layout())),
                "source": In(4),
                "features": In(16),
                "encode": In(signed(8)),
                "follow": In(1),
                "progress": In(progress_layout()),
                "idle": Out(1),
                **{f"{name}_index": In(16) for name in BUFFERS},
                **{f"{name}_hold": Out(1) for name in BUFFERS},
                "gather_request": Out(stream.Signature(gather_layout)),
                "gather_words": In(acts),
                "normed_request": Out(stream.Signature(request_layout())),
                "normed_words": In(acts),
                "codes_request": Out(stream.Signature(request_layout())),
                "codes_words": In(
                    stream.Signature(data.StructLayout({"values": codes, "last": 1}))
                ),
                "o": Out(stream.Signature(data.StructLayout({"codes": codes, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = Encoder(self.config, meta=1)
        m.d.comb += [
            self.gather_request.payload.tile.eq(self.i.payload.tile),
            self.gather_request.payload.cls.eq(self.source == Source.CLS),
            self.gather_request.payload.read.eq(1),
            self.gather_request.payload.features.eq(self.features),
            encoder.offset.eq(self.encode),
        ]
        tile = Signal(16)
        for name in BUFFERS:
            request = getattr(self, f"{name}_request")
            index = getattr(self, f"{name}_index")
            written = has_written(self.progress, Mux(index == 0, self.i.payload.tile, tile), index)
            m.d.comb += [
                request.payload.address.eq(self.i.payload.address),
                request.payload.count.eq(self.features),
                getattr(self, f"{name}_hold").eq(self.follow & ~written),
            ]
        taken = self.i.valid & self.i.ready
        gone = self.o.valid & self.o.ready & self.o.payload.last
        tiles = Signal(3)
        m.d.sync += tiles.eq(tiles + taken - gone)
        m.d.comb += self.idle.eq(tiles == 0)
        with m.If(taken):
            m.d.sync += tile.eq(self.i.payload.tile)
        with m.Switch(self.source):
            with m.Case(Source.CODES):
                m.d.comb += [
                    self.codes_request.valid.eq(self.i.valid),
                    self.i.ready.eq(self.codes_request.ready),
                    self.o.valid.eq(self.codes_words.valid),
                    self.codes_words.ready.eq(self.o.ready),
                    self.o.payload.codes.eq(self.codes_words.payload.values),
                    self.o.payload.last.eq(self.codes_words.payload.last),
                ]
            with m.Case(Source.NORMED):
                self._encode(m, encoder, self.normed_request, self.normed_words)
            with m.Default():
                self._encode(m, encoder, self.gather_request, self.gather_words)
        return m

    def _encode(self, m, encoder, request, words):
        m.d.comb += [
            request.valid.eq(self.i.valid),
            self.i.ready.eq(request.ready),
            encoder.i.valid.eq(words.valid),
            words.ready.eq(encoder.i.ready),
            encoder.i.payload.values.eq(words.payload.values),
            encoder.i.payload.meta.eq(words.payload.last),
            self.o.valid.eq(encoder.o.valid),
            encoder.o.ready.eq(self.o.ready),
            self.o.payload.codes.eq(encoder.o.payload.codes),
            self.o.payload.last.eq(encoder.o.payload.meta),
        ]
