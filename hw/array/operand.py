# SPDX-License-Identifier: Apache-2.0
"""The array's activation operand: a tile of any source, as codes."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.isa import Source
from hw.arith.adaptivfloat import Encoder
from hw.array.linear import tile_request_layout
from hw.array.mac_array import activation_layout
from hw.buffer import request_layout, word_layout
from hw.checks import check_shape
from hw.progress import has_written, progress_layout
from hw.shapes import FEATURE, OFFSET, SOURCE, TILE, WORDS, tile_codes, tile_values
from hw.stream import Skid

__all__ = ["HELD", "Operand"]

REQUEST = 1  # cycles from a request to its source
REQUESTS = 2  # that wait for their source
# Buffers that are read as they are, not gathered; a word is held until it is written.
HELD = ("normed", "codes")
# Tiles on their way that the counter holds. There are eight at most, of a word each: two requests,
# and words in the source, in the encoder and before the array.
MOST_TILES = 15


class Operand(wiring.Component):
    """The words of a tile as codes, from the residual stream, from NORMED or from CODES.

    Latency `REQUEST`, that of the source, and of the encoder where the words are ACT; one word a
    cycle where the source gives one. Stalled: holds its word and the source's. Of a source that is
    still being written (`follow`) a word is read when it is there.

    Parameters
    ----------
    config : HardwareConfig
    point : layout of a request to the gather, with the fields tile, cls, read and features

    Members
    -------
    i : In(stream of tile_request_layout)
    source : In(SOURCE), which one; stable while not `idle`
    features : In(FEATURE), words in a tile; stable likewise
    encode : In(OFFSET), the encoder's offset; stable likewise
    follow : In(1), the source's operation has not ended
    progress : In(progress_layout), how far it is
    idle : Out(1), no tile is asked for that has not gone
    gather_request : Out(stream of `point`)
    gather_words : In(stream of word_layout of ACT x T)
    normed_request : Out(stream of request_layout)
    normed_words : In(stream of word_layout of ACT x T)
    normed_index : In(WORDS), see `Buffer`
    normed_hold : Out(1), see `Buffer`
    codes_request : Out(stream of request_layout)
    codes_words : In(stream of word_layout of code x T)
    codes_index : In(WORDS), see `Buffer`
    codes_hold : Out(1), see `Buffer`
    o : Out(stream of activation_layout)
    """

    def __init__(self, config, point):
        check_shape("Point", point)
        self.config = config
        values = stream.Signature(word_layout(tile_values(config)))
        codes = stream.Signature(word_layout(tile_codes(config)))
        super().__init__(
            {
                "i": In(stream.Signature(tile_request_layout())),
                "source": In(SOURCE),
                "features": In(FEATURE),
                "encode": In(OFFSET),
                "follow": In(1),
                "progress": In(progress_layout()),
                "idle": Out(1),
                **{f"{name}_index": In(WORDS) for name in HELD},
                **{f"{name}_hold": Out(1) for name in HELD},
                "gather_request": Out(stream.Signature(point)),
                "gather_words": In(values),
                "normed_request": Out(stream.Signature(request_layout())),
                "normed_words": In(values),
                "codes_request": Out(stream.Signature(request_layout())),
                "codes_words": In(codes),
                "o": Out(stream.Signature(activation_layout(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Between those who ask and all that a source's ready depends on.
        m.submodules.asked = asked = Skid(tile_request_layout())
        wiring.connect(m, wiring.flipped(self.i), asked.i)
        self._asked = asked.o
        self._ask(m)
        self._count(m)
        self._choose(m)
        return m

    def _ask(self, m):
        """What is asked of each source; a buffer's next word is held back until it is written."""
        # All sources see the same request; that of the chosen one alone is valid.
        request = self.gather_request.payload
        tile = Signal(TILE)  # that a buffer's request is of
        m.d.comb += [
            request.tile.eq(self._asked.payload.tile),
            request.cls.eq(self.source == Source.CLS),
            request.read.eq(1),
            request.features.eq(self.features),
        ]
        with m.If(self._asked.valid & self._asked.ready):
            m.d.sync += tile.eq(self._asked.payload.tile)
        # Index 0: the buffer's next word is the first one of the request that is offered.
        for name in HELD:
            request = getattr(self, f"{name}_request").payload
            index = getattr(self, f"{name}_index")
            current = Mux(index == 0, self._asked.payload.tile, tile)
            written = has_written(self.progress, current, index)
            m.d.comb += [
                request.address.eq(self._asked.payload.address),
                request.count.eq(self.features),
                getattr(self, f"{name}_hold").eq(self.follow & ~written),
            ]

    def _count(self, m):
        """Counts the tiles on their way."""
        # `idle` lets the next operation change source, features and offset.
        tiles = Signal(range(MOST_TILES + 1))
        taken = self.i.valid & self.i.ready
        gone = self.o.valid & self.o.ready & self.o.payload.last
        m.d.sync += tiles.eq(tiles + taken - gone)
        m.d.comb += self.idle.eq(tiles == 0)

    def _choose(self, m):
        """The chosen source's words to `o`."""
        m.submodules.encoder = encoder = Encoder(self.config, meta=1)
        m.d.comb += encoder.offset.eq(self.encode)
        # The source stands still while tiles are on their way, so the words of two never meet.
        with m.Switch(self.source):
            # Codes pass by the encoder.
            with m.Case(Source.CODES):
                m.d.comb += [
                    self.codes_request.valid.eq(self._asked.valid),
                    self._asked.ready.eq(self.codes_request.ready),
                    self.o.valid.eq(self.codes_words.valid),
                    self.codes_words.ready.eq(self.o.ready),
                    self.o.payload.codes.eq(self.codes_words.payload.values),
                    self.o.payload.last.eq(self.codes_words.payload.last),
                ]
            with m.Case(Source.NORMED):
                self._encode(m, encoder, self.normed_request, self.normed_words)
            with m.Default():
                self._encode(m, encoder, self.gather_request, self.gather_words)

    def _encode(self, m, encoder, request, words):
        """The words of a source of ACT through the encoder."""
        m.d.comb += [
            request.valid.eq(self._asked.valid),
            self._asked.ready.eq(request.ready),
            encoder.i.valid.eq(words.valid),
            words.ready.eq(encoder.i.ready),
            encoder.i.payload.values.eq(words.payload.values),
            encoder.i.payload.meta.eq(words.payload.last),
            self.o.valid.eq(encoder.o.valid),
            encoder.o.ready.eq(self.o.ready),
            self.o.payload.codes.eq(encoder.o.payload.codes),
            self.o.payload.last.eq(encoder.o.payload.meta),
        ]
