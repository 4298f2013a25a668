# SPDX-License-Identifier: Apache-2.0
"""Loading an image: nothing of it is used before its header, its CRC-32 and the embedding image's header have passed."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from firmware import isa
from firmware.embedding_image import EMBEDDING_HEADER, EMBEDDING_MAGIC
from firmware.error_codes import Error
from firmware.image import ALIGNMENT, HEADER, HEADER_BYTES
from firmware.registers import ID, VERSION
from hw.bus.dma import Words, bus_word, request
from hw.bus.transfer import ERROR

__all__ = ["Loader", "constant_layout", "embedding_layout", "image_layout"]


def image_layout():
    """What the rest of the machine needs of an image's header."""
    return data.StructLayout(
        {
            "program_offset": 32,
            "instructions": 32,
            "layers": 8,
            "classes": 8,
            "heads": 8,
            "positions": 16,
            "vocabulary": 32,
            "exit_threshold": 18,
            "units": 32,
            "embedding_width": 16,
        }
    )


def embedding_layout():
    """What `Embedder` needs of the embedding image's header: rows of words and positions, features, byte offset of the row table."""
    return data.StructLayout({"vocabulary": 32, "positions": 16, "width": 16, "table_offset": 32})


def constant_layout():
    """A constant: memory << 28 | index, and its value."""
    return data.StructLayout({"address": 32, "data": 32})


class Loader(wiring.Component):
    """Checks the image and the embedding image's header, in the order of firmware/image.py, then hands out the constants.

    Image header: magic, version, length (= IMAGE_SIZE); CRC-32 of the whole image; units, hardware configuration, sizes, sections inside
    the image; embedding header: magic, version, length (= EMBEDDING_SIZE), its CRC-32, sizes as the image's; then the embedding hash.
    One bus word per cycle while the CRC is computed; a constant per two 32-bit words. Every failure ends with `done` and its `error`.
    Nothing is left in flight on the ports then, except after an error of a reader, which must be aborted.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : pulse; ignored unless idle
    abort : back to idle at once, nothing loaded; the readers must be aborted with it
    image_base, image_size, embedding_base, embedding_size : bytes, quasi-static
    o_request, i_data, i_error : to a `Reader` of the memory port, its data and its `error`
    o_embedding_request, i_embedding_data, i_embedding_error : the same for the embedding port
    o_constant : stream of `constant_layout()`; only when all checks have passed
    busy, done : loading; pulse at its end
    error : code, valid with `done` and after it; 0 when `loaded`
    loaded : the last load succeeded
    image, embedding : `image_layout()`, `embedding_layout()`, valid when `loaded`
    """

    def __init__(self, config):
        self._config = config
        asks = stream.Signature(request())
        words = stream.Signature(bus_word(config))
        super().__init__(
            {
                "start": In(1),
                "abort": In(1),
                "image_base": In(32),
                "image_size": In(32),
                "embedding_base": In(32),
                "embedding_size": In(32),
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
        m.submodules.words = self._words = Words(self._config)
        m.submodules.crc = self._crc = crc.Parameters(
            CRC32_ISO_HDLC, self._config.bus_bits
        ).create()
        self._header, self._embedding_header = (
            {name: Signal(32, name=f"{prefix}_{name}") for name in names}
            for prefix, names in (("image", HEADER), ("embedding", EMBEDDING_HEADER))
        )
        self._count = Signal(range(17))
        self._pair_first = Signal(32)
        self._pairs = Signal(32)
        self._outputs(m)
        with m.FSM() as fsm:
            with m.State("Idle"):
                with m.If(self.start):
                    m.d.sync += [
                        self.loaded.eq(0),
                        self.error.eq(Error.NONE),
                    ]
                    m.next = "Ask header"
            self._read_image(m)
            self._read_embedding(m)
            self._constants(m)
        m.d.comb += self.busy.eq(~fsm.ongoing("Idle"))
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

    def _check(self, m, state, following, rules):
        """A state that goes on to `following`, or fails with the first rule (holds, error) that does not hold; two cycles."""
        rules = list(rules)
        broken = Signal(len(rules))
        m.d.sync += broken.eq(Cat(~holds for holds, _ in rules))
        with m.State(state):
            m.next = f"{state}, verdict"
        with m.State(f"{state}, verdict"):
            m.next = following
            for i, (_, error) in reversed(list(enumerate(rules))):
                with m.If(broken[i]):
                    self._fail(m, error)

    def _fail(self, m, error):
        m.d.sync += self.error.eq(error)
        m.next = "Failed"

    def _ask(self, m, port, address, words, window, following):
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
        """The splitter's words into the registers of `header` by number; the others are only counted."""
        m.d.comb += self._words.o.ready.eq(1)
        with m.If(self._words.o.valid):
            m.d.sync += self._count.eq(self._count + 1)
            for number, register in enumerate(header.values()):
                with m.If(self._count == number):
                    m.d.sync += register.eq(self._words.o.payload.data)
            with m.If(self._words.o.payload.last):
                m.next = following

    def _read_image(self, m):
        """States up to a proven image."""
        header = self._header
        bus_bytes = self._config.bus_bytes
        window = self.image_base, self.image_size
        with m.State("Ask header"):
            m.d.comb += self._crc.start.eq(1)
            m.d.sync += self._count.eq(0)
            with m.If(self.image_size < HEADER_BYTES):
                self._fail(m, Error.IMAGE_LENGTH)
            with m.Else():
                self._ask(
                    m, self.o_request, self.image_base, HEADER_BYTES // bus_bytes, window, "Header"
                )
        with m.State("Header"):
            self._feed(m, self.i_data)
            self._take_header(m, header, "Check header")
            self._guard(m, self.i_error)
        self._check(m, "Check header", "Ask rest", self._header_rules())
        with m.State("Ask rest"):
            self._ask(
                m,
                self.o_request,
                self.image_base + HEADER_BYTES,
                (self.image_size - HEADER_BYTES) // bus_bytes,
                window,
                "Rest",
            )
        with m.State("Rest"):
            m.d.comb += [
                self.i_data.ready.eq(1),
                self._crc.data.eq(self.i_data.payload.data),
                self._crc.valid.eq(self.i_data.valid),
            ]
            with m.If(self.i_data.valid & self.i_data.payload.last):
                m.next = "Check image"
            self._guard(m, self.i_error)
        self._check(m, "Check image", "Ask embedding", self._image_rules())
        with m.State("Failed"):
            m.d.comb += self.done.eq(1)
            m.next = "Idle"

    def _guard(self, m, error):
        """A reader's error ends the load."""
        with m.If(error != Error.NONE):
            self._fail(m, error)

    def _header_rules(self):
        length = self._header["length"]
        yield self._header["magic"] == ID, Error.IMAGE_MAGIC
        yield self._header["version"] == VERSION, Error.IMAGE_VERSION
        yield (
            (length == self.image_size) & (length % ALIGNMENT == 0) & (length > HEADER_BYTES),
            Error.IMAGE_LENGTH,
        )

    def _image_rules(self):
        """What must hold of a whole image, in the order of firmware/image.py."""
        config = self._config
        header = self._header
        image = self.image
        yield self._crc.match_detected, Error.IMAGE_CRC
        yield (header["units"] & (0xFFFFFFFF ^ config.unit_bits)) == 0, Error.IMAGE_UNITS
        yield header["config_hash"] == config.config_hash, Error.IMAGE_CONFIG
        for value, limit in (
            (image.layers, config.layers),
            (image.classes, config.classes),
            (image.heads, config.heads),
            (header["positions"], config.positions),
            (header["embedding_width"], config.embedding),
        ):
            yield value <= limit, Error.IMAGE_MODEL
        for offset, count, size in (
            ("program_offset", "instructions", isa.BYTES),
            ("constants_offset", "constants", 8),
        ):
            end = header[offset] + header[count] * size
            yield (header[offset] % ALIGNMENT == 0) & (end <= header["length"]), Error.IMAGE_LENGTH
        yield header["instructions"] <= isa.CAPACITY, Error.IMAGE_MODEL

    def _read_embedding(self, m):
        """States that prove the embedding image's header and that it is the one the image wants."""
        header = self._embedding_header
        image = self._header
        bus_bytes = self._config.bus_bytes
        with m.State("Ask embedding"):
            m.d.comb += self._crc.start.eq(1)
            m.d.sync += self._count.eq(0)
            self._ask(
                m,
                self.o_embedding_request,
                self.embedding_base,
                HEADER_BYTES // bus_bytes,
                (self.embedding_base, self.embedding_size),
                "Embedding",
            )
        with m.State("Embedding"):
            self._feed(m, self.i_embedding_data)
            self._take_header(m, header, "Check embedding")
            self._guard(
                m,
                Mux(
                    self.i_embedding_error == 0,
                    Error.NONE,
                    Mux(
                        self.i_embedding_error == Error.WINDOW,
                        Error.EMBEDDING_HEADER,
                        Error.EMBEDDING_BUS,
                    ),
                ),
            )
        sound = (
            (header["magic"] == EMBEDDING_MAGIC)
            & (header["version"] == VERSION)
            & self._crc.match_detected
            & (header["length"] == self.embedding_size)
            & (header["vocabulary"] == image["vocabulary"])
            & (header["positions"] == image["positions"])
            & (header["width"] == image["embedding_width"])
        )
        self._check(
            m,
            "Check embedding",
            "Ask constants",
            [
                (sound, Error.EMBEDDING_HEADER),
                (header["hash"] == image["embedding_hash"], Error.EMBEDDING_HASH),
            ],
        )

    def _constants(self, m):
        """States that hand out the constants; then the image is loaded."""
        bus_bytes = self._config.bus_bytes
        header = self._header
        word = self._words.o
        done = self._pairs == header["constants"]
        with m.State("Ask constants"):
            m.d.sync += [
                self._pairs.eq(0),
                self._count.eq(0),
            ]
            words = (header["constants"] * 8 + bus_bytes - 1) // bus_bytes
            window = self.image_base, self.image_size
            self._ask(
                m,
                self.o_request,
                self.image_base + header["constants_offset"],
                words,
                window,
                "Constants",
            )
            with m.If(header["constants"] == 0):
                m.d.comb += self.o_request.valid.eq(0)
                m.next = "Loaded"
        with m.State(
            "Constants"
        ):  # padding after the last pair, within its bus word, is taken and ignored
            self._feed(m, self.i_data)
            m.d.comb += [
                self.o_constant.valid.eq(word.valid & self._count[0] & ~done),
                word.ready.eq(~self._count[0] | self.o_constant.ready | done),
                self.o_constant.payload.address.eq(self._pair_first),
                self.o_constant.payload.data.eq(word.payload.data),
            ]
            with m.If(word.valid & word.ready):
                m.d.sync += [
                    self._count.eq(~self._count[0]),
                    self._pairs.eq(self._pairs + (self._count[0] & ~done)),
                ]
                with m.If(~self._count[0]):
                    m.d.sync += self._pair_first.eq(word.payload.data)
                with m.If(word.payload.last):
                    m.next = "Loaded"
            self._guard(m, self.i_error)
        with m.State("Loaded"):
            m.d.sync += self.loaded.eq(1)
            m.d.comb += self.done.eq(1)
            m.next = "Idle"
