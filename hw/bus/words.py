# SPDX-License-Identifier: Apache-2.0
"""Bus words into 32-bit words."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.bus.transfer import bus_word, word
from hw.shapes import WORD

__all__ = ["Words"]


class Words(wiring.Component):
    """Splits bus words into 32-bit words, the lowest first.

    Latency 0 (combinational), one 32-bit word per cycle. Stalled: holds its input until the last
    part of it is taken.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of bus_word(config))
    o : Out(stream of word()), `last` on the highest part of the last bus word
    clear : In(1), start the next bus word at its lowest part (after an abort)

    Attributes
    ----------
    part : of the bus word, the one on `o`, once it is elaborated
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(bus_word(config))),
                "o": Out(stream.Signature(word())),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Bus and memory are little-endian: the lowest part is the word at the lowest address.
        parts = self.config.bus_bits // WORD.width
        part = Signal(range(parts))
        self.part = part
        highest = part == parts - 1
        # No register: the readers' outputs are registers already.
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(self.i.payload.data.word_select(part, WORD.width)),
            self.o.payload.last.eq(self.i.payload.last & highest),
            self.i.ready.eq(self.o.ready & highest),
        ]
        with m.If(self.clear):
            m.d.sync += part.eq(0)
        # A bus word has a power of two of parts, so the counter wraps by itself.
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += part.eq(part + 1)
        return m
