# SPDX-License-Identifier: Apache-2.0
"""Loading an image: nothing of it is used before all checks of hw/bus/headers.py have passed."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from firmware.constants import memory_words
from firmware.embedding_image import EMBEDDING_HEADER
from firmware.error_codes import Error
from firmware.image import HEADER, HEADER_BYTES, section_bytes
from hw.bus.headers import (
    constant_layout,
    embedding_layout,
    embedding_rules,
    header_rules,
    image_layout,
    image_rules,
)
from hw.bus.transfer import bus_word, transfer_layout
from hw.bus.words import Words
from hw.shapes import ADDRESS, BYTE, ERROR, SIZE, WORD

__all__ = ["Loader"]

HEADER_WORDS = HEADER_BYTES * BYTE.width // WORD.width


class Loader(wiring.Component):
    """Checks the image and the embedding image's header, then hands out the constants.

    Image header: magic, version, length (= IMAGE_SIZE); CRC-32 of the whole image; sections inside
    the image, units, hardware configuration, sizes; embedding header: magic, version, length
    (= EMBEDDING_SIZE), its CRC-32, sizes as the image's; then the embedding hash. The constants are
    read once more, and by their own CRC-32 are those that were checked.

    Throughput: one bus word per cycle while the CRC is computed; a constant per 32-bit word.
    Stalled: by the readers, and by `o_constant`. Every failure ends with `done` and its `error`.
    Nothing is left in flight on the ports then, except after an error of a reader, which must be
    aborted.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse; ignored unless idle
    abort : In(1), back to idle at once, nothing loaded, requests withdrawn; the readers must be
        aborted with it
    image_base, embedding_base : In(ADDRESS), quasi-static
    image_size, embedding_size : In(SIZE), bytes, quasi-static
    o_request : Out(stream of request()), to a `Reader` of the memory port
    i_data : In(stream of bus_word(config)), of that reader
    i_error : In(ERROR), of that reader
    o_embedding_request, i_embedding_data, i_embedding_error : the same for the embedding port
    o_constant : Out(stream of constant_layout()), only when all checks but the last have passed;
        withdrawn by `abort` and by a reader's error
    busy : Out(1), loading
    done : Out(1), pulse at its end
    error : Out(ERROR), code, valid with `done` and after it; 0 when `loaded`
    loaded : Out(1), the last load succeeded
    image : Out(image_layout()), valid when `loaded`
    embedding : Out(embedding_layout()), valid when `loaded`
    """

    def __init__(self, config):
        self.config = config
        asks = stream.Signature(transfer_layout())
        words = stream.Signature(bus_word(config))
        super().__init__(
            {
                "start": In(1),
                "abort": In(1),
                "image_base": In(ADDRESS),
                "image_size": In(SIZE),
                "embedding_base": In(ADDRESS),
                "embedding_size": In(SIZE),
                "o_request": Out(asks),
                "i_data": In(words),
                "i_error": In(ERROR),
                "o_embedding_request": Out(asks),
                "i_embedding_data": In(words),
                "i_embedding_error": In(ERROR),
                "o_constant": Out(stream.Signature(constant_layout())),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(ERROR),
                "loaded": Out(1),
                "image": Out(image_layout()),
                "embedding": Out(embedding_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = self._words = Words(self.config)
        # Both headers and the whole image go through one CRC: they are never read at the same time.
        m.submodules.crc = self._crc = crc.Parameters(CRC32_ISO_HDLC, self.config.bus_bits).create()
        self._header = {name: Signal(WORD, name=f"image_{name}") for name in HEADER}
        self._embedding_header = {
            name: Signal(WORD, name=f"embedding_{name}") for name in EMBEDDING_HEADER
        }
        self._count = Signal(range(HEADER_WORDS + 1))  # words so far
        self._outputs(m)
        with m.FSM() as fsm:
            # Nothing is being loaded.
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        self.loaded.eq(0),
                        self.error.eq(Error.NONE),
                    ]
                    m.next = "ASK_HEADER"
            self._read_header(m)
            self._read_rest(m)
            self._read_embedding(m)
            self._read_constants(m)
        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return ResetInserter(self.abort)(m)

    def _outputs(self, m):
        """The header words that others need."""
        header = self._header
        embedding = self._embedding_header
        m.d.comb += [
            *(
                self.image[name].eq(header[name])
                for name in image_layout().members
                if name in header
            ),
            Cat(self.image.layers, self.image.classes, self.image.heads).eq(header["model"]),
            *(self.embedding[name].eq(embedding[name]) for name in embedding_layout().members),
        ]

    def _broken(self, m, rules):
        """[(the rule is broken, its error)], a cycle later than what the rules look at."""
        # A register for each, because the CRC or a product behind a 32-bit comparison is a long
        # way.
        rules = list(rules)
        broken = Signal(len(rules))
        m.d.sync += broken.eq(Cat(~holds for holds, _ in rules))
        return [(broken[i], error) for i, (_, error) in enumerate(rules)]

    def _judge(self, m, broken, following):
        """Go on to `following`, or fail with the first rule that is broken."""
        m.next = following
        for bit, error in reversed(broken):
            with m.If(bit):
                self._fail(m, error)

    def _fail(self, m, error):
        m.d.sync += self.error.eq(error)
        m.next = "FAILED"

    def _guard(self, m, error):
        """A reader's error ends the load."""
        with m.If(error != Error.NONE):
            self._fail(m, error)

    def _ask(self, m, port, address, words, window, following):
        """Ask for `words` bus words of a window (base, size), then go on to `following`."""
        base, size = window
        m.d.comb += [
            port.valid.eq(1),
            port.payload.address.eq(address),
            port.payload.words.eq(words),
            port.payload.base.eq(base),
            port.payload.size.eq(size),
        ]
        with m.If(port.ready):
            m.next = following

    def _feed(self, m, source):
        """Bus words of `source` go to the splitter, and each to the CRC as it is taken."""
        m.d.comb += [
            self._words.i.payload.eq(source.payload),
            self._words.i.valid.eq(source.valid),
            source.ready.eq(self._words.i.ready),
            self._crc.data.eq(source.payload.data),
            self._crc.valid.eq(source.valid & source.ready),
        ]

    def _take_header(self, m, header, following):
        """The splitter's words into the registers of `header` by number; the others are counted."""
        m.d.comb += self._words.o.ready.eq(1)
        with m.If(self._words.o.valid):
            m.d.sync += self._count.eq(self._count + 1)
            for number, register in enumerate(header.values()):
                with m.If(self._count == number):
                    m.d.sync += register.eq(self._words.o.payload.data)
            with m.If(self._words.o.payload.last):
                m.next = following

    def _read_header(self, m):
        """States up to a header whose length can be trusted."""
        header = self._header
        window = self.image_base, self.image_size
        words = HEADER_BYTES // self.config.bus_bytes
        # Asks for the image's header.
        with m.State("ASK_HEADER"):
            m.d.comb += self._crc.start.eq(1)
            m.d.sync += self._count.eq(0)
            with m.If(self.image_size < HEADER_BYTES):
                self._fail(m, Error.IMAGE_LENGTH)
            with m.Else():
                self._ask(m, self.o_request, self.image_base, words, window, "HEADER")
        # The header's words.
        with m.State("HEADER"):
            self._feed(m, self.i_data)
            self._take_header(m, header, "CHECK_HEADER")
            self._guard(m, self.i_error)
        broken = self._broken(m, header_rules(header, self.image_size))
        # The rules are weighed.
        with m.State("CHECK_HEADER"):
            m.next = "JUDGE_HEADER"
        # Which of them is broken?
        with m.State("JUDGE_HEADER"):
            self._judge(m, broken, "ASK_REST")

    def _read_rest(self, m):
        """States up to a proven image."""
        header = self._header
        window = self.image_base, self.image_size
        start = self.image_base + HEADER_BYTES
        words = (self.image_size - HEADER_BYTES) // self.config.bus_bytes
        # Asks for all that is behind the header.
        with m.State("ASK_REST"):
            self._ask(m, self.o_request, start, words, window, "REST")
        # Only the CRC sees it: the machine has no room to keep an image, and reads again what it
        # needs.
        with m.State("REST"):
            m.d.comb += [
                self.i_data.ready.eq(1),
                self._crc.data.eq(self.i_data.payload.data),
                self._crc.valid.eq(self.i_data.valid),
            ]
            with m.If(self.i_data.valid & self.i_data.payload.last):
                m.next = "CHECK_IMAGE"
            self._guard(m, self.i_error)
        # The image ends with its CRC, so the sum over all of it is a constant.
        holds = self._crc.match_detected
        broken = self._broken(m, image_rules(self.config, header, holds))
        # The rules are weighed.
        with m.State("CHECK_IMAGE"):
            m.next = "JUDGE_IMAGE"
        # Which of them is broken?
        with m.State("JUDGE_IMAGE"):
            self._judge(m, broken, "ASK_EMBEDDING")
        # The load is over, with an error.
        with m.State("FAILED"):
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"

    def _read_embedding(self, m):
        """States that prove the embedding image's header, and that the image wants this one."""
        header = self._embedding_header
        window = self.embedding_base, self.embedding_size
        words = HEADER_BYTES // self.config.bus_bytes
        request = self.o_embedding_request
        # Asks for the embedding image's header.
        with m.State("ASK_EMBEDDING"):
            m.d.comb += self._crc.start.eq(1)
            m.d.sync += self._count.eq(0)
            self._ask(m, request, self.embedding_base, words, window, "EMBEDDING")
        # The header's words.
        with m.State("EMBEDDING"):
            self._feed(m, self.i_embedding_data)
            self._take_header(m, header, "CHECK_EMBEDDING")
            self._guard(m, self._embedding_error())
        holds = self._crc.match_detected
        rules = embedding_rules(header, self._header, self.embedding_size, holds)
        broken = self._broken(m, rules)
        # The rules are weighed.
        with m.State("CHECK_EMBEDDING"):
            m.next = "JUDGE_EMBEDDING"
        # Which of them is broken?
        with m.State("JUDGE_EMBEDDING"):
            self._judge(m, broken, "ASK_CONSTANTS")

    def _embedding_error(self):
        """The embedding reader's error as that of a load."""
        error = self.i_embedding_error
        # A window that is too small for a header is a header that is not there.
        refused = Mux(error == Error.WINDOW, Error.EMBEDDING_HEADER, Error.EMBEDDING_BUS)
        return Mux(error == 0, Error.NONE, refused)

    def _read_constants(self, m):
        """States that hand out the constants; then the image is loaded."""
        memories = memory_words(self.config)
        size = section_bytes(WORD.width // BYTE.width * sum(memories.values()))
        window = self.image_base, self.image_size
        start = self.image_base + self._header["constants_offset"]
        # Asks for them.
        with m.State("ASK_CONSTANTS"):
            m.d.comb += self._crc.start.eq(1)
            words = size // self.config.bus_bytes
            self._ask(m, self.o_request, start, words, window, "CONSTANTS")
        # Their words, and what their section has behind them.
        with m.State("CONSTANTS"):
            self._feed(m, self.i_data)
            self._hand_out(m, memories, "CHECK_CONSTANTS")
            self._guard(m, self.i_error)
        broken = self._broken(m, [(self._crc.match_detected, Error.IMAGE_SECTION)])
        # The rule is weighed.
        with m.State("CHECK_CONSTANTS"):
            m.next = "JUDGE_CONSTANTS"
        # Is it broken?
        with m.State("JUDGE_CONSTANTS"):
            self._judge(m, broken, "LOADED")
        # The load is over.
        with m.State("LOADED"):
            m.d.sync += self.loaded.eq(1)
            m.d.comb += self.done.eq(1)
            m.next = "IDLE"

    def _hand_out(self, m, memories, following):
        """The splitter's words, memory after memory; then the state `following`."""
        word = self._words.o
        constant = self.o_constant.payload
        # Which of the memories: an image has words for all that the machine has, and no others.
        at = Signal(range(len(memories) + 1))
        index = Signal(constant.index.shape())
        m.d.comb += [
            self.o_constant.valid.eq(word.valid & (at != len(memories))),
            word.ready.eq(self.o_constant.ready),
            constant.index.eq(index),
            constant.data.eq(word.payload.data),
        ]
        with m.Switch(at):
            for number, (memory, count) in enumerate(memories.items()):
                with m.Case(number):
                    m.d.comb += constant.memory.eq(memory)
                    with m.If(self.o_constant.valid & self.o_constant.ready):
                        m.d.sync += index.eq(index + 1)
                        with m.If(index == count - 1):
                            m.d.sync += [
                                index.eq(0),
                                at.eq(at + 1),
                            ]
        with m.If(word.valid & word.ready & word.payload.last):
            m.d.sync += at.eq(0)
            m.next = following
