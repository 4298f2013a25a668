# SPDX-License-Identifier: Apache-2.0
"""The embedding image (rows of codes of word, position and segment): build, parse, check.

The layout is that of docs/design.md, section 2.
"""

import itertools
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from firmware.columns import encode_columns
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, aligned, pack_words, require
from firmware.registers import VERSION
from golden_model.bitmask import WORD_ROWS, decode_column
from golden_model.hardware import ceil_div

__all__ = [
    "EMBEDDING_HEADER",
    "EMBEDDING_MAGIC",
    "EMBEDDING_OFFSET",
    "EmbeddingImage",
    "build_embedding",
    "ROW_CHECK_BYTES",
    "checks_of_rows",
    "parse_embedding",
    "row_check",
]

EMBEDDING_MAGIC = 0x4D535254
# The words of its header, and what docs/design.md says of them; the last of all is its CRC.
EMBEDDING_HEADER = {
    "magic": 'Bytes "TRSM".',
    "version": "As in the image.",
    "hash": "CRC-32 of everything behind the header; the image names it.",
    "length": "Bytes of the whole file.",
    "rows": "Rows: words, positions, two segments.",
    "vocabulary": "Word rows.",
    "positions": "Position rows.",
    "width": "E, the features of a row.",
    "table_offset": "Byte offset of the row table.",
}
EMBEDDING_OFFSET = {name: 4 * word for word, name in enumerate(EMBEDDING_HEADER)}  # byte of a word
SEGMENTS = 2  # rows at the end, also for a model with one segment
WIDEST = 4096  # features
ROW_CHECK_BYTES = 2  # behind a row, high byte first


def _crc16_table():
    for value in range(0, 1 << 16, 1 << 8):
        for _ in range(8):
            value = value << 1 ^ (0x11021 if value & 0x8000 else 0)
        yield value


_CRC16 = np.fromiter(_crc16_table(), np.uint16)


def checks_of_rows(data, starts, sizes):
    """The check of each row of `data` by its number: size bytes from its start (arrays)."""
    values = np.full(len(starts), 0xFFFF, np.uint16)
    for i in range(int(sizes.max(initial=0))):
        inside = i < sizes
        old = values[inside]
        values[inside] = old << 8 ^ _CRC16[old >> 8 ^ data[starts[inside] + i]]
    return values ^ np.arange(len(starts)).astype(np.uint16)


def row_check(number, row):
    """The check of a row: CRC-16 of its bytes, exclusive or the low 16 bits of its number.

    Polynomial 0x1021, initial value 0xFFFF. With the number no row can stand in for another one.
    """
    data = np.frombuffer(row, np.uint8)
    value = int(checks_of_rows(data, np.zeros(1, int), np.array([len(row)]))[0])
    return value ^ number & 0xFFFF


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
        """Codes of one row. Raises ImageError when its check is wrong."""
        codes, used = decode_column(
            self.data[self.offsets[number] : self.offsets[number + 1]], self.width
        )
        column = self.data[self.offsets[number] : self.offsets[number] + used]
        end = self.offsets[number] + used
        stored = int.from_bytes(self.data[end : end + ROW_CHECK_BYTES], "big")
        found = row_check(number, column)
        require(
            found == stored,
            Error.SENTENCE_CHECK,
            f"Embedding row {number} must have the check {found:#06x}, not {stored:#06x}",
        )
        return codes


def build_embedding(word, position, segment):
    """The bytes of an embedding image from (rows, E) codes of each table; two rows of segments."""
    encoded = [row for table in (word, position, segment) for row in encode_columns(table)]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    sizes = np.fromiter(map(len, encoded), int)
    checks = checks_of_rows(data, np.cumsum(sizes) - sizes, sizes).tolist()
    encoded = [
        row + check.to_bytes(ROW_CHECK_BYTES, "big")
        for row, check in zip(encoded, checks, strict=True)
    ]
    encoded = [row.ljust(ceil_div(len(row), 4) * 4, b"\0") for row in encoded]
    start = aligned(HEADER_BYTES + 4 * (len(encoded) + 1))
    offsets = list(itertools.accumulate(map(len, encoded), initial=start))
    length = aligned(offsets[-1])
    body = b"".join([pack_words(offsets).ljust(start - HEADER_BYTES, b"\0"), *encoded]).ljust(
        length - HEADER_BYTES, b"\0"
    )
    header = pack_words(
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
    return header + pack_words([zlib.crc32(header)]) + body


def parse_embedding(data):
    """`EmbeddingImage` from bytes. Raises ImageError: what is wrong, what is allowed."""
    data = bytes(data)
    require(
        len(data) >= HEADER_BYTES,
        Error.EMBEDDING_HEADER,
        f"Embedding image must have at least {HEADER_BYTES} bytes, not {len(data)}",
    )
    words = struct.unpack_from("<16I", data)
    header = dict(zip(EMBEDDING_HEADER, words, strict=False))
    require(
        header["magic"] == EMBEDDING_MAGIC,
        Error.EMBEDDING_HEADER,
        f"Embedding image must start with {EMBEDDING_MAGIC:#010x} (TRSM), "
        f"not {header['magic']:#010x}",
    )
    require(
        header["version"] == VERSION,
        Error.EMBEDDING_HEADER,
        f"Embedding image version must be {VERSION}, not {header['version']}",
    )
    require(
        zlib.crc32(data[:60]) == words[15],
        Error.EMBEDDING_HEADER,
        f"Embedding image header's CRC-32 must be {words[15]:#010x}, "
        f"not {zlib.crc32(data[:60]):#010x}: it is damaged",
    )
    require(
        header["length"] == len(data),
        Error.EMBEDDING_HEADER,
        f"Embedding image must have the {header['length']} bytes that its header says, "
        f"not {len(data)}",
    )
    found = zlib.crc32(data[HEADER_BYTES:])
    require(
        found == header["hash"],
        Error.EMBEDDING_HASH,
        f"Embedding image hash must be {header['hash']:#010x}, not {found:#010x}: it is damaged",
    )
    offsets = _row_table(data, header)
    names = ("hash", "rows", "vocabulary", "positions", "width")
    return EmbeddingImage(data=data, offsets=offsets, **{name: header[name] for name in names})


def _row_table(data, header):
    """Byte offsets of the rows and of the end, which must rise inside the image."""
    rows, start, width = header["rows"], header["table_offset"], header["width"]
    wanted = header["vocabulary"] + header["positions"] + SEGMENTS
    require(
        rows == wanted and header["vocabulary"] and header["positions"],
        Error.EMBEDDING_HEADER,
        f"Embedding image must have a row for each of at least one word and position, "
        f"and {SEGMENTS} segments, {wanted} in all, not {rows}",
    )
    require(
        1 <= width <= WIDEST,
        Error.EMBEDDING_HEADER,
        f"Embedding image width must be in 1..{WIDEST}, not {width}",
    )
    first = start + 4 * (rows + 1)
    require(
        start >= HEADER_BYTES and start % 4 == 0 and first <= len(data),
        Error.EMBEDDING_HEADER,
        f"Embedding image row table must lie inside its {len(data)} bytes, behind the header, "
        f"at a multiple of 4, not at {start} with {rows} rows",
    )
    offsets = struct.unpack_from(f"<{rows + 1}I", data, start)
    least = 2 * ceil_div(width, WORD_ROWS) + ROW_CHECK_BYTES
    for row, (begin, end) in enumerate(itertools.pairwise((first, *offsets))):
        require(
            begin + least * (row > 0) <= end <= len(data),
            Error.EMBEDDING_HEADER,
            f"Embedding image row table must rise by {least} bytes a row or more, from {first} to "
            f"at most {len(data)}, entry {row} is {end}",
        )
    return offsets
