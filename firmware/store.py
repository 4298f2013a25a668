# SPDX-License-Identifier: Apache-2.0
"""What a board's flash holds for the machine: a header, the image, the embedding image.

The board copies header and image to the beginning of its memory when it starts; the machine reads
embeddings from the flash itself. The header tells the host what there is, and which model it is.
"""

import struct
import zlib
from dataclasses import dataclass

__all__ = [
    "EMBEDDING_AT",
    "STORE_BYTES",
    "MAGIC",
    "STORE_AT",
    "Store",
    "StoreError",
    "store_parts",
]

MAGIC = 0x4B535254  # "TRSK"
VERSION = 1
STORE_AT = 0x400000  # in the flash, behind the bitstream of the largest chip, an XC7A100T
EMBEDDING_AT = 0x600000  # in the flash
HEADER = struct.Struct("<8I")
STORE_BYTES = HEADER.size
ALIGNMENT = 32


class StoreError(ValueError):
    """A header that is none, or of something else than was looked for."""


@dataclass(frozen=True)
class Store:
    """The header's contents.

    image, embedding : bytes of the two images
    image_crc, embedding_crc : CRC-32 (zlib's) of each
    """

    image: int
    embedding: int
    image_crc: int
    embedding_crc: int

    @classmethod
    def of(cls, image: bytes, embedding: bytes) -> "Store":
        """The header of two images, whose sizes are multiples of 32; raises StoreError."""
        for name, one, room in (
            ("image", image, EMBEDDING_AT - STORE_AT - STORE_BYTES),
            ("embedding image", embedding, (1 << 24) - EMBEDDING_AT),
        ):
            if not one or len(one) % ALIGNMENT or len(one) > room:
                raise StoreError(
                    f"The {name} must have {ALIGNMENT}..{room} bytes, a multiple of {ALIGNMENT}, "
                    f"to go into the flash, not {len(one)}"
                )
        return cls(len(image), len(embedding), zlib.crc32(image), zlib.crc32(embedding))

    def to_bytes(self) -> bytes:
        words = (MAGIC, self.image, self.embedding, self.image_crc, self.embedding_crc, VERSION, 0)
        body = struct.pack("<7I", *words)
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def parse(cls, header: bytes) -> "Store":
        """From the first 32 bytes; raises StoreError."""
        words = HEADER.unpack(header[:STORE_BYTES])
        if words[0] != MAGIC:
            raise StoreError("The board's flash holds no model: write one with `terse flash`")
        if zlib.crc32(header[: STORE_BYTES - 4]) != words[7] or words[5] != VERSION:
            raise StoreError(
                "The header of the model in the board's flash is damaged, or of another version: "
                "write it again with `terse flash`"
            )
        return cls(*words[1:5])


def store_parts(image: bytes, embedding: bytes) -> dict[int, bytes]:
    """{address in the flash: what is written there}."""
    return {
        STORE_AT: Store.of(image, embedding).to_bytes() + image,
        EMBEDDING_AT: embedding,
    }
