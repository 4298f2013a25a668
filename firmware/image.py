# SPDX-License-Identifier: Apache-2.0
"""The image (program, constants, weight streams) and the embedding image: build, parse, check.

The layouts are those of docs/design.md, section 2. `ImageError.error` is the code that the hardware gives for the same fault.
"""

import enum
import itertools
import struct
import zlib
from dataclasses import dataclass

from firmware import isa
from firmware.columns import encode_columns
from firmware.registers import ID, VERSION, Error
from golden_model.bitmask import decode_column
from golden_model.hardware import HARDWARE, UNITS, ceil_div

__all__ = [
    "ALIGNMENT",
    "EMBEDDING_HEADER",
    "EMBEDDING_MAGIC",
    "HEADER",
    "HEADER_BYTES",
    "EmbeddingImage",
    "Image",
    "ImageError",
    "Layout",
    "Memory",
    "build_embedding",
    "build_image",
    "check",
    "config_name",
    "crc8",
    "parse_embedding",
    "parse_image",
    "stream_stride",
    "unit_names",
]

ALIGNMENT = 32
HEADER_BYTES = 64
EMBEDDING_MAGIC = 0x4D535254
HEADER = (
    "magic",
    "version",
    "config_hash",
    "embedding_hash",
    "length",
    "program_offset",
    "instructions",
    "constants_offset",
    "constants",
    "model",
    "positions",
    "vocabulary",
    "exit_threshold",
    "units",
    "embedding_width",
    "reserved",
)
EMBEDDING_HEADER = (
    "magic",
    "version",
    "hash",
    "length",
    "rows",
    "vocabulary",
    "positions",
    "width",
    "table_offset",
)


class Memory(enum.IntEnum):
    """The memories that constants go to."""

    NORM = 0  # index = set * max(hidden, embedding) + feature: gamma | beta << 16
    SPAN = 1  # index = live head * positions + distance: Q0.8, 256 = 1
    ETA = 2  # by layer, Q1.16
    DVFS = 3  # by entropy bin: predicted exit layer
    WORK = 4  # index = 2 * (0 useful, 1 zeros, 2 heads, 3 dense) + (0 row, 1 pair): golden_model.counters.layer_work


class ImageError(ValueError):
    """An image that the hardware would refuse; `error` is the code with which it would."""

    def __init__(self, error, text):
        super().__init__(text)
        self.error = error


def _require(condition, error, text):
    if not condition:
        raise ImageError(error, text)


def _aligned(size):
    return ceil_div(size, ALIGNMENT) * ALIGNMENT


def _words(values):
    return struct.pack(f"<{len(values)}I", *values)


@dataclass(frozen=True)
class Layout:
    """Where the sections of an image lie, from their sizes."""

    instructions: int
    constants: int
    stream_bytes: tuple

    @property
    def program(self):
        return HEADER_BYTES

    @property
    def constants_offset(self):
        return self.program + isa.BYTES * self.instructions

    @property
    def streams(self):
        """Byte offset of each stream, and of the end of the last one."""
        start = _aligned(self.constants_offset + 8 * self.constants)
        return tuple(itertools.accumulate(map(_aligned, self.stream_bytes), initial=start))

    @property
    def length(self):
        return _aligned(self.streams[-1] + 4)


def build_image(layout, instructions, constants, streams, **header):
    """The bytes of an image.

    Parameters
    ----------
    instructions : lists of `isa.WORDS` words
    constants : (Memory, index, data word)
    streams : bytes of each weight stream
    header : the words of `HEADER` that sizes do not give; layers, classes and heads make `model`
    """
    model = header.pop("layers") | header.pop("classes") << 8 | header.pop("heads") << 16
    values = {
        "magic": ID,
        "version": VERSION,
        "length": layout.length,
        "program_offset": layout.program,
        "instructions": len(instructions),
        "constants_offset": layout.constants_offset,
        "constants": len(constants),
        "model": model,
        "reserved": 0,
        **header,
    }
    image = bytearray(layout.length)
    image[:HEADER_BYTES] = _words([values[name] for name in HEADER])
    parts = [
        (layout.program, b"".join(map(_words, instructions))),
        (
            layout.constants_offset,
            b"".join(struct.pack("<II", m << 28 | index, word) for m, index, word in constants),
        ),
    ]
    for start, part in [*parts, *zip(layout.streams, streams, strict=False)]:
        image[start : start + len(part)] = part
    image[-4:] = _words([zlib.crc32(image[:-4])])
    return bytes(image)


@dataclass(frozen=True)
class Image:
    """A parsed image: attributes are the header's words, by the names of `HEADER`, and layers, classes, heads."""

    data: bytes
    header: dict
    program: tuple
    pairs: tuple

    def __getattr__(self, name):
        header = object.__getattribute__(self, "header")
        try:
            return header[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def layers(self):
        return self.header["model"] & 0xFF

    @property
    def classes(self):
        return self.header["model"] >> 8 & 0xFF

    @property
    def heads(self):
        return self.header["model"] >> 16 & 0xFF

    def stream(self, pc, bus_bytes, layer=0):
        """The weight stream of a LINEAR; of one layer where it has several."""
        words = self.program[pc]
        size = isa.unpack(words, "beats") * bus_bytes
        start = isa.unpack(words, "address") + layer * isa.unpack(words, "stacked") * stream_stride(
            size
        )
        return self.data[start : start + size]


def stream_stride(size):
    """Bytes from a layer's weight stream of that size to the next layer's."""
    return ceil_div(size, ALIGNMENT) * ALIGNMENT


def parse_image(data):
    """`Image` from bytes. Raises ImageError: what is wrong, what is allowed."""
    data = bytes(data)
    _require(
        len(data) >= HEADER_BYTES,
        Error.IMAGE_LENGTH,
        f"Image must have at least {HEADER_BYTES} bytes, not {len(data)}",
    )
    header = dict(zip(HEADER, struct.unpack_from("<16I", data), strict=True))
    _require(
        header["magic"] == ID,
        Error.IMAGE_MAGIC,
        f"Image must start with {ID:#010x} (TRSE), not {header['magic']:#010x}",
    )
    _require(
        header["version"] == VERSION,
        Error.IMAGE_VERSION,
        f"Image version must be {VERSION}, not {header['version']}",
    )
    _require(
        header["length"] == len(data) and len(data) % ALIGNMENT == 0,
        Error.IMAGE_LENGTH,
        f"Image must have the {header['length']} bytes that its header says, a multiple of {ALIGNMENT}, not {len(data)}",
    )
    stored, found = struct.unpack_from("<I", data, len(data) - 4)[0], zlib.crc32(data[:-4])
    _require(
        stored == found,
        Error.IMAGE_CRC,
        f"Image CRC-32 must be {stored:#010x} as stored, not {found:#010x}: it is damaged",
    )
    for name, size in (("instructions", isa.BYTES), ("constants", 8)):
        start = header["program_offset" if name == "instructions" else "constants_offset"]
        _require(
            start % ALIGNMENT == 0 and start + size * header[name] <= len(data),
            Error.IMAGE_LENGTH,
            f"Image {name} must lie inside it and start at a multiple of {ALIGNMENT}, not {header[name]} at {start}",
        )
    program = tuple(
        struct.unpack_from("<8I", data, header["program_offset"] + isa.BYTES * pc)
        for pc in range(header["instructions"])
    )
    words = struct.unpack_from(f"<{2 * header['constants']}I", data, header["constants_offset"])
    pairs = tuple(
        (Memory(a >> 28), a & 0xFFFFFFF, d) for a, d in zip(words[::2], words[1::2], strict=True)
    )
    return Image(data, header, program, pairs)


def check(image, hardware, embedding=None):
    """Raise ImageError when this hardware would refuse the image, alone or with this embedding image."""
    missing, present = (
        unit_names(image.units & ~hardware.unit_bits),
        ", ".join(unit_names(hardware.unit_bits)) or "none",
    )
    _require(
        not missing,
        Error.IMAGE_UNITS,
        f"Image units must be among those of the hardware ({present}), "
        f"it needs {', '.join(missing)} too",
    )
    _require(
        image.config_hash == hardware.config_hash,
        Error.IMAGE_CONFIG,
        f"Image must be compiled for hardware {hardware.config_hash:#010x}, not for {config_name(image.config_hash)}",
    )
    for name, value, limit in (
        ("layers", image.layers, hardware.layers),
        ("classes", image.classes, hardware.classes),
        ("heads", image.heads, hardware.heads),
        ("positions", image.positions, hardware.positions),
        ("embedding width", image.embedding_width, hardware.embedding),
        ("instructions", image.instructions, isa.CAPACITY),
    ):
        _require(
            value <= limit,
            Error.IMAGE_MODEL,
            f"Image {name} must be at most {limit} on this hardware, not {value}",
        )
    if embedding is not None:
        for name, value, wanted in (
            ("vocabulary", embedding.vocabulary, image.vocabulary),
            ("positions", embedding.positions, image.positions),
            ("width", embedding.width, image.embedding_width),
        ):
            _require(
                value == wanted,
                Error.EMBEDDING_HEADER,
                f"Embedding image {name} must be {wanted}, not {value}",
            )
        _require(
            embedding.hash == image.embedding_hash,
            Error.EMBEDDING_HASH,
            f"Embedding image must be {image.embedding_hash:#010x}, which the image names, not {embedding.hash:#010x}",
        )


def unit_names(bits):
    """Names of the units in a word of unit bits; a bit that no unit has shows by its number."""
    return [UNITS[i] if i < len(UNITS) else f"bit {i}" for i in range(32) if bits >> i & 1]


def config_name(config_hash):
    names = [name for name, config in HARDWARE.items() if config.config_hash == config_hash]
    return " ".join([f"{config_hash:#010x}", *(f"({name})" for name in names)])


def _crc8_table():
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        yield value


_CRC8 = bytes(_crc8_table())


def crc8(data):
    """CRC-8, polynomial 0x07, initial value 0."""
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


@dataclass(frozen=True)
class EmbeddingImage:
    """A parsed embedding image; attributes are the header's words, `offsets` the row table."""

    data: bytes
    hash: int
    rows: int
    vocabulary: int
    positions: int
    width: int
    offsets: tuple

    def row(self, number):
        """Codes of one row. Raises ImageError when its check byte is wrong."""
        codes, used = decode_column(
            self.data[self.offsets[number] : self.offsets[number + 1]], self.width
        )
        column = self.data[self.offsets[number] : self.offsets[number] + used]
        check_byte = self.data[self.offsets[number] + used]
        _require(
            crc8(column) == check_byte,
            Error.SENTENCE_CHECK,
            f"Embedding row {number} must have check byte {crc8(column):#04x}, not {check_byte:#04x}",
        )
        return codes


def build_embedding(word, position, segment):
    """The bytes of an embedding image from (rows, E) codes of each table; `segment` has two rows."""
    encoded = [row for table in (word, position, segment) for row in encode_columns(table)]
    encoded = [row + bytes([crc8(row)]) for row in encoded]
    encoded = [row.ljust(ceil_div(len(row), 4) * 4, b"\0") for row in encoded]
    start = _aligned(HEADER_BYTES + 4 * (len(encoded) + 1))
    offsets = list(itertools.accumulate(map(len, encoded), initial=start))
    length = _aligned(offsets[-1])
    body = b"".join([_words(offsets).ljust(start - HEADER_BYTES, b"\0"), *encoded]).ljust(
        length - HEADER_BYTES, b"\0"
    )
    header = _words(
        [
            EMBEDDING_MAGIC,
            VERSION,
            zlib.crc32(body),
            length,
            len(encoded),
            len(word),
            len(position),
            len(word[0]),
            HEADER_BYTES,
            *[0] * 6,
        ]
    )
    return header + _words([zlib.crc32(header)]) + body


def parse_embedding(data):
    """`EmbeddingImage` from bytes. Raises ImageError: what is wrong, what is allowed."""
    data = bytes(data)
    _require(
        len(data) >= HEADER_BYTES,
        Error.EMBEDDING_HEADER,
        f"Embedding image must have at least {HEADER_BYTES} bytes, not {len(data)}",
    )
    words = struct.unpack_from("<16I", data)
    header = dict(zip(EMBEDDING_HEADER, words, strict=False))
    _require(
        header["magic"] == EMBEDDING_MAGIC,
        Error.EMBEDDING_HEADER,
        f"Embedding image must start with {EMBEDDING_MAGIC:#010x} (TRSM), not {header['magic']:#010x}",
    )
    _require(
        header["version"] == VERSION,
        Error.EMBEDDING_HEADER,
        f"Embedding image version must be {VERSION}, not {header['version']}",
    )
    _require(
        zlib.crc32(data[:60]) == words[15],
        Error.EMBEDDING_HEADER,
        f"Embedding image header's CRC-32 must be {words[15]:#010x}, not {zlib.crc32(data[:60]):#010x}: it is damaged",
    )
    _require(
        header["length"] == len(data),
        Error.EMBEDDING_HEADER,
        f"Embedding image must have the {header['length']} bytes that its header says, not {len(data)}",
    )
    found = zlib.crc32(data[HEADER_BYTES:])
    _require(
        found == header["hash"],
        Error.EMBEDDING_HASH,
        f"Embedding image hash must be {header['hash']:#010x}, not {found:#010x}: it is damaged",
    )
    offsets = struct.unpack_from(f"<{header['rows'] + 1}I", data, header["table_offset"])
    names = ("hash", "rows", "vocabulary", "positions", "width")
    return EmbeddingImage(data=data, offsets=offsets, **{name: header[name] for name in names})
