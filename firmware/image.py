# SPDX-License-Identifier: Apache-2.0
"""The image (program, constants, weight streams): build and parse.

The layout is that of docs/design.md, section 2. `ImageError.error` is the code that the hardware
gives for the same fault. Whether a hardware takes an image, `firmware.image_match` says; what the
hardware does not look at is checked by `firmware.image_rules`.
"""

import itertools
import struct
import zlib
from dataclasses import dataclass

from firmware import isa
from firmware.error_codes import Error
from firmware.registers import ID, VERSION
from golden_model.hardware import ceil_div

__all__ = [
    "ALIGNMENT",
    "CHECK_BYTES",
    "HEADER",
    "HEADER_BYTES",
    "HEADER_OFFSET",
    "Image",
    "ImageError",
    "Layout",
    "aligned",
    "build_image",
    "is_sealed",
    "pack_words",
    "parse_image",
    "require",
    "seal",
    "section_bytes",
    "stream_stride",
]

ALIGNMENT = 32
CHECK_BYTES = 4  # a section ends with the CRC-32 of all before it
HEADER_BYTES = 64
# The header's words, and what docs/design.md says of them.
HEADER: dict[str, str] = {
    "magic": 'Bytes "TRSE".',
    "version": "VERSION of the register table.",
    "config_hash": "`HardwareConfig.config_hash` of the hardware that it is compiled for.",
    "embedding_hash": "Hash of the embedding image that belongs to it.",
    "length": "Bytes of the whole file, a multiple of 32.",
    "program_offset": "Byte offset of the program.",
    "instructions": "Instructions of the program.",
    "constants_offset": "Byte offset of the constants.",
    "constants": "Words of constants.",
    "model": "Layers + 2^8 classes + 2^16 live heads.",
    "positions": "Longest sentence of the model.",
    "vocabulary": "Word rows of the embedding image.",
    "exit_threshold": "Entropy below which a sentence stops, Q2.16 nats.",
    "units": "Optional units that it needs, a bit each as in register UNITS.",
    "embedding_width": "E.",
    "reserved": "0.",
}
HEADER_OFFSET = {name: 4 * word for word, name in enumerate(HEADER)}  # byte of a word


class ImageError(ValueError):
    """An image that the hardware would refuse; `error` is the code with which it would."""

    def __init__(self, error, text):
        super().__init__(text)
        self.error = error


def require(condition, error, text):
    """Raise `ImageError` unless the condition holds."""
    if not condition:
        raise ImageError(error, text)


def aligned(size):
    """The smallest multiple of `ALIGNMENT` that is not below `size`."""
    return ceil_div(size, ALIGNMENT) * ALIGNMENT


def section_bytes(size):
    """Bytes of a section with `size` bytes of content: zeros and its CRC-32 behind them."""
    return aligned(size + CHECK_BYTES)


def seal(content, size):
    """A section of `size` bytes: the content, zeros, and the CRC-32 of both."""
    padded = content.ljust(size - CHECK_BYTES, b"\0")
    return padded + pack_words([zlib.crc32(padded)])


def is_sealed(section):
    """Whether its last word is the CRC-32 of what is before."""
    return pack_words([zlib.crc32(section[:-CHECK_BYTES])]) == section[-CHECK_BYTES:]


def pack_words(values):
    """Little-endian 32-bit words as bytes."""
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
        return self.program + section_bytes(isa.BYTES * self.instructions)

    @property
    def streams(self):
        """Byte offset of each stream, and of the end of the last one."""
        start = self.constants_offset + section_bytes(4 * self.constants)
        return tuple(itertools.accumulate(map(aligned, self.stream_bytes), initial=start))

    @property
    def length(self):
        return aligned(self.streams[-1] + 4)


def build_image(layout, instructions, constants, streams, **header):
    """The bytes of an image.

    Parameters
    ----------
    instructions : lists of `isa.WORDS` words
    constants : words, see `firmware.constants`
    streams : bytes of each weight stream, sealed
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
    image[:HEADER_BYTES] = pack_words([values[name] for name in HEADER])
    sections = [
        (layout.program, b"".join(map(pack_words, instructions))),
        (layout.constants_offset, pack_words(constants)),
    ]
    parts = [(start, seal(content, section_bytes(len(content)))) for start, content in sections]
    for start, part in [*parts, *zip(layout.streams, streams, strict=False)]:
        image[start : start + len(part)] = part
    image[-4:] = pack_words([zlib.crc32(image[:-4])])
    return bytes(image)


@dataclass(frozen=True)
class Image:
    """A parsed image; the header's words are attributes by the names of `HEADER`.

    data : all bytes
    header : words by name
    program : tuple of `isa.WORDS` words for each instruction
    constant_words : see `firmware.constants`
    sections : the bytes of program and constants, with their check words
    """

    data: bytes
    header: dict
    program: tuple
    constant_words: tuple
    sections: tuple

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

    @property
    def spare(self):
        return self.header["model"] >> 24

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
    require(
        len(data) >= HEADER_BYTES,
        Error.IMAGE_LENGTH,
        f"Image must have at least {HEADER_BYTES} bytes, not {len(data)}",
    )
    header = dict(zip(HEADER, struct.unpack_from("<16I", data), strict=True))
    require(
        header["magic"] == ID,
        Error.IMAGE_MAGIC,
        f"Image must start with {ID:#010x} (TRSE), not {header['magic']:#010x}",
    )
    require(
        header["version"] == VERSION,
        Error.IMAGE_VERSION,
        f"Image version must be {VERSION}, not {header['version']}",
    )
    require(
        header["length"] == len(data) and len(data) % ALIGNMENT == 0,
        Error.IMAGE_LENGTH,
        f"Image must have the {header['length']} bytes that its header says, "
        f"a multiple of {ALIGNMENT}, not {len(data)}",
    )
    stored, found = struct.unpack_from("<I", data, len(data) - 4)[0], zlib.crc32(data[:-4])
    require(
        stored == found,
        Error.IMAGE_CRC,
        f"Image CRC-32 must be {stored:#010x} as stored, not {found:#010x}: it is damaged",
    )
    program = _section(data, header, "instructions", isa.BYTES)
    constants = _section(data, header, "constants", 4)
    instructions = tuple(struct.iter_unpack(f"<{isa.WORDS}I", program))
    words = tuple(word for (word,) in struct.iter_unpack("<I", constants))
    return Image(
        data,
        header,
        instructions[: header["instructions"]],
        words[: header["constants"]],
        (program, constants),
    )


def _section(data, header, name, size):
    """The section of the program or of the constants, which have `size` bytes each."""
    start = header[f"{'program' if name == 'instructions' else name}_offset"]
    end = start + section_bytes(size * header[name])
    require(
        start % ALIGNMENT == 0 and end <= len(data),
        Error.IMAGE_LENGTH,
        f"Image {name} must lie inside it and start at a multiple of {ALIGNMENT}, "
        f"not {header[name]} at {start}",
    )
    return data[start:end]
