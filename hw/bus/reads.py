# SPDX-License-Identifier: Apache-2.0
"""The memory port's reads, shared by short runs of words and by weight streams."""

from amaranth import Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.transfer import bus_word, transfer_layout
from hw.stream import Fifo

__all__ = ["Reads"]

RUNS = 8  # runs of words that are on their way


class Reads(wiring.Component):
    """Passes requests of two to one reader, and gives each the words that it has asked for.

    Words come in the order of the requests. Latency 0 (combinational), one request and one bus word
    a cycle. Stalled: a word that its asker does not take holds up those behind it, for the other
    one too.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i_short : In(stream of request()), program, descriptors and tokens; goes first
    i_stream : In(stream of request()), weight streams
    o_request : Out(stream of request()), to a `Reader`; one of `i_stream` that waits gives way to
        one of `i_short`
    words : In(stream of bus_word(config)), of that reader
    o_short, o_stream : Out(stream of bus_word(config)), to the one that has asked
    streaming : Out(1), the next word that comes is one of a weight stream
    reading : Out(1), words are on their way
    """

    def __init__(self, config):
        self.config = config
        requests = stream.Signature(transfer_layout())
        words = stream.Signature(bus_word(config))
        super().__init__(
            {
                "i_short": In(requests),
                "i_stream": In(requests),
                "o_request": Out(requests),
                "words": In(words),
                "o_short": Out(words),
                "o_stream": Out(words),
                "streaming": Out(1),
                "reading": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        short = self.i_short
        long = self.i_stream
        # Whose run it is, a bit for each request: 1 for a weight stream.
        m.submodules.runs = runs = Fifo(1, RUNS)
        # Short runs go first: somebody waits for each of them, while weights are asked for ahead.
        chosen = ~short.valid
        m.d.comb += [
            self.o_request.valid.eq((short.valid | long.valid) & runs.i.ready),
            self.o_request.payload.eq(
                Mux(chosen, long.payload.as_value(), short.payload.as_value())
            ),
            short.ready.eq(self.o_request.ready & runs.i.ready),
            long.ready.eq(self.o_request.ready & runs.i.ready & chosen),
            runs.i.payload.eq(chosen),
            runs.i.valid.eq(self.o_request.valid & self.o_request.ready),
        ]
        words = self.words
        m.d.comb += [
            self.o_short.payload.eq(words.payload),
            self.o_stream.payload.eq(words.payload),
            self.o_short.valid.eq(words.valid & runs.o.valid & ~runs.o.payload),
            self.o_stream.valid.eq(words.valid & runs.o.valid & runs.o.payload),
            words.ready.eq(
                runs.o.valid & Mux(runs.o.payload, self.o_stream.ready, self.o_short.ready)
            ),
            runs.o.ready.eq(words.valid & words.ready & words.payload.last),
            self.streaming.eq(runs.o.valid & runs.o.payload),
            self.reading.eq(runs.level != 0),
        ]
        return m
