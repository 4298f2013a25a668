# SPDX-License-Identifier: Apache-2.0
"""The image from the flash into the memory, once, when a board starts (firmware/store.py)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.store import EMBEDDING_AT, MAGIC, STORE_AT, STORE_BYTES
from hw.board.flash import flash_read_layout
from hw.board.memory_port import word_access, word_done
from hw.shapes import BYTE, WORD

__all__ = ["ImageCopier"]

STEP = WORD.width // BYTE.width
RUN = STORE_BYTES // STEP  # words at a time: sizes are multiples of so many
IMAGE_SIZE = 1  # the header's word that says how long the image is
ROOM = ceil_log2(EMBEDDING_AT)  # bits of the number of bytes that may be copied


class ImageCopier(wiring.Component):
    """Copies the store's header, and the image behind it where there is one, to address 0 on.

    A header without its mark ends it, and so does a size that reaches into the embedding image.
    Nothing else is checked here: the machine's loader does that. It takes the flash's and the
    memory's time for each word.

    Members
    -------
    busy : Out(1), from the start on until all is copied
    flash : Out(stream of flash_read_layout()); words : In(stream of {data: WORD, last: 1})
    memory : Out(stream of word_access()); memory_done : In(stream of word_done())
    """

    def __init__(self):
        super().__init__(
            {
                "busy": Out(1, init=1),
                "flash": Out(stream.Signature(flash_read_layout())),
                "words": In(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
                "memory": Out(stream.Signature(word_access())),
                "memory_done": In(stream.Signature(word_done())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        place = Signal(ROOM)  # bytes copied so far
        end = Signal(ROOM, init=STORE_BYTES)  # bytes to copy, the header's among them
        ours = Signal()  # the header begins with its mark
        word = Signal(WORD)
        largest = EMBEDDING_AT - STORE_AT - STORE_BYTES
        m.d.comb += [
            self.flash.payload.address.eq(STORE_AT + place),
            self.flash.payload.length.eq(RUN - 1),
            self.memory.payload.write.eq(1),
            self.memory.payload.address.eq(place),
            self.memory.payload.data.eq(word),
        ]
        with m.FSM():
            # The next words, as long as there are any.
            with m.State("ASK"):
                m.d.comb += self.flash.valid.eq(place < end)
                with m.If(place >= end):
                    m.d.sync += self.busy.eq(0)
                    m.next = "DONE"
                with m.Elif(self.flash.ready):
                    m.next = "WORD"
            # A word; two of the header say whether there is an image, and how long.
            with m.State("WORD"):
                m.d.comb += self.words.ready.eq(1)
                m.d.sync += word.eq(self.words.payload.data)
                with m.If(self.words.valid):
                    m.next = "STORE"
                    with m.If(place == 0):
                        m.d.sync += ours.eq(self.words.payload.data == MAGIC)
                    with m.If(place == IMAGE_SIZE * STEP):
                        size = self.words.payload.data
                        good = ours & (size <= largest)
                        m.d.sync += end.eq(STORE_BYTES + Mux(good, size, 0))
            # It is written.
            with m.State("STORE"):
                m.d.comb += [
                    self.memory.valid.eq(1),
                    self.memory_done.ready.eq(1),
                ]
                with m.If(self.memory.ready):
                    m.d.sync += place.eq(place + STEP)
                    m.next = "WORD"
                    with m.If(((place + STEP) % STORE_BYTES) == 0):
                        m.next = "ASK"
            # The rest is the host's.
            with m.State("DONE"):
                pass
        return m
