# SPDX-License-Identifier: Apache-2.0
"""The headers of both images: what the machine takes from them, and what must hold.

The rules are pairs (what must hold, error code), in the order in which firmware/image.py checks
them: so driver and machine refuse an image with the same code.
"""

from amaranth.lib import data

from firmware import isa
from firmware.constants import Memory, constant_count
from firmware.embedding_image import EMBEDDING_MAGIC
from firmware.error_codes import Error
from firmware.image import ALIGNMENT, CHECK_BYTES, HEADER_BYTES
from firmware.image_match import HEADER_LIMITS
from firmware.registers import ID, VERSION
from hw.shapes import BYTE, CLASS, FEATURE, HEAD, LAYER, PARAMETER, POSITION, THRESHOLD, TOKEN, WORD

__all__ = [
    "constant_layout",
    "embedding_layout",
    "embedding_rules",
    "header_rules",
    "image_layout",
    "image_rules",
]

MODEL = ("layers", "classes", "heads", "spare")  # bytes of the header's word `model`


def image_layout():
    """What the rest of the machine needs of an image's header; the names are those of `HEADER`.

    layers, classes, heads : the parts of the header's word `model`
    """
    return data.StructLayout(
        {
            "program_offset": WORD,
            "instructions": WORD,
            "layers": LAYER,
            "classes": CLASS,
            "heads": HEAD,
            "positions": POSITION,
            "vocabulary": TOKEN,
            "exit_threshold": THRESHOLD,
            "units": WORD,
            "embedding_width": FEATURE,
        }
    )


def embedding_layout():
    """What `Embedder` needs of the embedding image's header.

    vocabulary, positions : rows of words and of positions
    width : features of a row
    table_offset : byte offset of the row table
    """
    return data.StructLayout(
        {"vocabulary": TOKEN, "positions": POSITION, "width": FEATURE, "table_offset": WORD}
    )


def constant_layout():
    """A constant: its memory of firmware/constants.py, its place there, and its value."""
    return data.StructLayout({"memory": range(len(Memory)), "index": PARAMETER, "data": WORD})


def header_rules(header, size):
    """What must hold before the rest of the image is read; `size` of the image in bytes."""
    # Without a right length nobody knows how far the CRC reaches.
    length = header["length"]
    yield header["magic"] == ID, Error.IMAGE_MAGIC
    yield header["version"] == VERSION, Error.IMAGE_VERSION
    yield (
        (length == size) & (length % ALIGNMENT == 0) & (length > HEADER_BYTES),
        Error.IMAGE_LENGTH,
    )


def image_rules(config, header, crc_holds):
    """What must hold of a whole image."""
    # The CRC comes first: a damaged image is called damaged, not one for another machine.
    yield crc_holds, Error.IMAGE_CRC
    for offset, count, size in (
        ("program_offset", "instructions", isa.BYTES),
        ("constants_offset", "constants", WORD.width // BYTE.width),
    ):
        # Sections may overlap: that makes a wrong program, but no access outside the image.
        content = header[count] * size + CHECK_BYTES + ALIGNMENT - 1
        end = header[offset] + content // ALIGNMENT * ALIGNMENT
        yield (header[offset] % ALIGNMENT == 0) & (end <= header["length"]), Error.IMAGE_LENGTH
    lacking = ((1 << WORD.width) - 1) ^ config.unit_bits
    yield (header["units"] & lacking) == 0, Error.IMAGE_UNITS
    yield header["config_hash"] == config.config_hash, Error.IMAGE_CONFIG
    numbers = {
        **header,
        **{name: header["model"].word_select(at, BYTE.width) for at, name in enumerate(MODEL)},
    }
    for limit in HEADER_LIMITS:
        number = numbers[limit.name]
        yield (number >= limit.least) & (number <= limit.most(config)), Error.IMAGE_MODEL
    yield header["constants"] == constant_count(config), Error.IMAGE_MODEL


def embedding_rules(header, image, size, crc_holds):
    """What must hold of an embedding image of `size` bytes beside an image of header `image`.

    Only its header is read: the rows are checked one by one, when a token needs them.
    """
    # Only the header is compared: the hash stands for all that is behind it.
    sound = (
        (header["magic"] == EMBEDDING_MAGIC)
        & (header["version"] == VERSION)
        & crc_holds
        & (header["length"] == size)
        & (header["vocabulary"] == image["vocabulary"])
        & (header["positions"] == image["positions"])
        & (header["width"] == image["embedding_width"])
    )
    yield sound, Error.EMBEDDING_HEADER
    yield header["hash"] == image["embedding_hash"], Error.EMBEDDING_HASH
