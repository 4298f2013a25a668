# SPDX-License-Identifier: Apache-2.0
"""The image (program, constants, weight streams): build and parse.

The layout is that of docs/design.md, section 2. `ImageError.error` is the code that the hardware
gives for the same fault. Whether a hardware takes an image, `firmware.image_match` says; what the
hardware does not look at is checked by `firmware.image_rules`.
"""

import enum
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
    "HEADER",
    "HEADER_BYTES",
    "HEADER_OFFSET",
    "Image",
    "ImageError",
    "Layout",
    "Memory",
    "aligned",
    "build_image",
    "pack_words",
    "parse_image",
    "require",
    "stream_stride",
]

ALIGNMENT = 32
MEMORY_SHIFT = 28  # address of a constant = memory << MEMORY_SHIFT | index
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
    "constants": "Pairs of constants.",
    "model": "Layers + 2^8 classes + 2^16 live heads.",
    "positions": "Longest sentence of the model.",
    "vocabulary": "Word rows of the embedding image.",
    "exit_threshold": "Entropy below which a sentence stops, Q2.16 nats.",
    "units": "Optional units that it needs, a bit each as in register UNITS.",
    "embedding_width": "E.",
    "reserved": "0.",
}
HEADER_OFFSET = {name: 4 * word for word, name in enumerate(HEADER)}  # byte of a word


class Memory(enum.IntEnum):
    """The memories that constants go to; `index` and `data` say what a constant's words are."""

    index: str
    data: str

    def __new__(cls, value: int, index: str, data: str) -> "Memory":
        member = int.__new__(cls, value)
        member._value_ = value
        member.index = index
        member.data = data
        return member

    NORM = 0, "set * `widest` + feature", "gamma + 2^16 beta, 16 bits signed each"
    SPAN = 1, "live head * `positions` + distance", "Q0.8, 256 = 1"
    ETA = 2, "layer", "Q1.16"
    DVFS = 3, "entropy bin", "predicted exit layer"
    WORK = 4, "2 * (0 useful, 1 zeros, 2 heads, 3 dense) + (0 a token, 1 a pair)", "multiplications"


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
        return self.program + isa.BYTES * self.instructions

    @property
    def streams(self):
        """Byte offset of each stream, and of the end of the last one."""
        start = aligned(self.constants_offset + 8 * self.constants)
        return tuple(itertools.accumulate(map(aligned, self.stream_bytes), initial=start))

    @property
    def length(self):
        return aligned(self.streams[-1] + 4)


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
    image[:HEADER_BYTES] = pack_words([values[name] for name in HEADER])
    parts = [
        (layout.program, b"".join(map(pack_words, instructions))),
        (
            layout.constants_offset,
            b"".join(
                struct.pack("<II", m << MEMORY_SHIFT | index, word) for m, index, word in constants
            ),
        ),
    ]
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
    pairs : (Memory, index, data word) of each constant
    """

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
    for name, size in (("instructions", isa.BYTES), ("constants", 8)):
        start = header["program_offset" if name == "instructions" else "constants_offset"]
        require(
            start % ALIGNMENT == 0 and start + size * header[name] <= len(data),
            Error.IMAGE_LENGTH,
            f"Image {name} must lie inside it and start at a multiple of {ALIGNMENT}, "
            f"not {header[name]} at {start}",
        )
    program = tuple(
        struct.unpack_from("<8I", data, header["program_offset"] + isa.BYTES * pc)
        for pc in range(header["instructions"])
    )
    words = struct.unpack_from(f"<{2 * header['constants']}I", data, header["constants_offset"])
    addresses, values = words[::2], words[1::2]
    for number, address in enumerate(addresses):
        require(
            address >> MEMORY_SHIFT in iter(Memory),
            Error.IMAGE_MODEL,
            f"Image constant {number} must go to memory 0..{max(Memory)}, "
            f"not {address >> MEMORY_SHIFT}",
        )
    pairs = tuple(
        (Memory(address >> MEMORY_SHIFT), address & ((1 << MEMORY_SHIFT) - 1), value)
        for address, value in zip(addresses, values, strict=True)
    )
    return Image(data, header, program, pairs)
