# SPDX-License-Identifier: Apache-2.0
"""Runs of 32-bit words at any multiple of four, from a reader of whole bus words."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.bus.transfer import bus_word, transfer_layout
from hw.bus.words import Words
from hw.shapes import ADDRESS, BYTE, SIZE, WORD, WORDS

__all__ = ["Fetch", "read_layout", "words_layout"]

STEP = WORD.width // BYTE.width  # bytes of a word


def read_layout():
    """A run of 32-bit words: byte address (a multiple of four), and count."""
    return data.StructLayout({"address": ADDRESS, "words": WORDS})


def words_layout():
    """A run of 32-bit words, as `read_layout()`, and the window that it must lie in."""
    return data.StructLayout({**read_layout().members, "base": ADDRESS, "size": SIZE})


class Fetch(wiring.Component):
    """Reads the bus words around a run and gives its words, those before and after dropped.

    Latency: the reader's and one cycle; one 32-bit word a cycle. Stalled: holds its bus word. One
    run at a time; a run of no words gives nothing.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of words_layout())
    o : Out(stream of WORD)
    o_request : Out(stream of request()), to a `Reader`
    data : In(stream of bus_word(config)), the reader's: those of the run that was asked for, and
        nothing while none is

    Attributes
    ----------
    run, index, fsm : the run, words of the bus words so far, the states, once it is elaborated
    words : the splitter
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(words_layout())),
                "o": Out(stream.Signature(WORD)),
                "o_request": Out(stream.Signature(transfer_layout())),
                "data": In(stream.Signature(bus_word(config))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = self.words = Words(self.config)
        bus = self.config.bus_bytes
        shift = ceil_log2(bus)
        parts = ceil_log2(bus // STEP)
        run = Signal(words_layout())
        # Words of the bus words so far; up to a bus word more than the run has, on either side.
        index = Signal(unsigned(WORDS.width + 2))
        self.run = run
        self.index = index
        skip = run.address[ceil_log2(STEP) : shift] if parts else 0
        end = skip + run.words
        wanted = (index >= skip) & (index < end)
        wiring.connect(m, words.i, wiring.flipped(self.data))
        # A reader knows whole bus words only; a program or a sentence begins at any word.
        m.d.comb += [
            self.o_request.payload.address.eq(run.address & ~(bus - 1)),
            self.o_request.payload.words.eq((end + bus // STEP - 1) >> parts),
            self.o_request.payload.base.eq(run.base),
            self.o_request.payload.size.eq(run.size),
            self.o.payload.eq(words.o.payload.data),
            self.o.valid.eq(words.o.valid & wanted),
            words.o.ready.eq(self.o.ready | ~wanted),
        ]
        with m.FSM() as self.fsm:
            # Takes a run.
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    run.eq(self.i.payload),
                    index.eq(0),
                ]
                with m.If(self.i.valid & (self.i.payload.words != 0)):
                    m.next = "REQUEST"
            # Waits for the reader.
            with m.State("REQUEST"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "WORDS"
            # Words until the last of the run's last bus word.
            with m.State("WORDS"):
                with m.If(words.o.valid & words.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(words.o.payload.last):
                        m.next = "IDLE"
        return m
