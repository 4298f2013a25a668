# SPDX-License-Identifier: Apache-2.0
"""Whether a hardware takes an image, and which one an image is for.

`HEADER_LIMITS` is the only list of what a header's numbers may be: the loader (hw/bus/headers.py)
is made of it too, so both refuse the same images.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

from firmware import isa
from firmware.constants import constant_count
from firmware.error_codes import Error
from firmware.image import is_sealed, require
from golden_model.config import FORMATS
from golden_model.hardware import HARDWARE, SIZES, UNITS

__all__ = [
    "ANY",
    "HEADER_LIMITS",
    "HeaderLimit",
    "check_image",
    "check_limits",
    "check_sections",
    "config_name",
    "named",
    "unit_names",
]


@dataclass(frozen=True)
class HeaderLimit:
    """A number of the header and what it may be.

    name : attribute of `Image`; a word of the header, or a part of `model`
    text : what messages call it
    least : at least
    most : of a `HardwareConfig`, or of `ANY`, the most that it takes
    """

    name: str
    text: str
    least: int
    most: Callable


# Where the hardware is not known: the largest of every size.
ANY = SimpleNamespace(**{name: high for name, (_, high) in SIZES.items()})

HEADER_LIMITS = (
    HeaderLimit("layers", "layers", 1, lambda hardware: hardware.layers),
    HeaderLimit("classes", "classes", 2, lambda hardware: hardware.classes),
    HeaderLimit("heads", "live heads", 0, lambda hardware: hardware.heads),
    HeaderLimit("spare", "model word's top byte", 0, lambda hardware: 0),
    HeaderLimit("positions", "positions", 1, lambda hardware: hardware.positions),
    HeaderLimit("vocabulary", "vocabulary", 1, lambda hardware: 1 << 16),
    HeaderLimit("embedding_width", "embedding width", 1, lambda hardware: hardware.embedding),
    HeaderLimit("exit_threshold", "exit threshold", 0, lambda hardware: (1 << 18) - 1),
    HeaderLimit("instructions", "instructions", 1, lambda hardware: isa.CAPACITY),
    HeaderLimit("reserved", "reserved word", 0, lambda hardware: 0),
)


def check_image(image, hardware, embedding=None):
    """Raise `ImageError` when this hardware would refuse the image.

    embedding : an `EmbeddingImage` that must be the one that the image names
    """
    missing = unit_names(image.units & ~hardware.unit_bits)
    present = ", ".join(unit_names(hardware.unit_bits)) or "none"
    require(
        not missing,
        Error.IMAGE_UNITS,
        f"Image units must be among those of the hardware ({present}), "
        f"it needs {', '.join(missing)} too",
    )
    require(
        image.config_hash == hardware.config_hash,
        Error.IMAGE_CONFIG,
        f"Image must be compiled for hardware {hardware.config_hash:#010x}, "
        f"not for {config_name(image.config_hash)}",
    )
    check_limits(image, hardware)
    check_sections(image, hardware)
    if embedding is not None:
        _check_embedding(image, embedding)


def check_limits(image, hardware=ANY):
    """Raise `ImageError` at the first number of the header that is beyond its limits."""
    where = "" if hardware is ANY else " on this hardware"
    for limit in HEADER_LIMITS:
        value = getattr(image, limit.name)
        most = limit.most(hardware)
        allowed = f"{most}" if limit.least == most else f"in {limit.least}..{most}"
        require(
            limit.least <= value <= most,
            Error.IMAGE_MODEL,
            f"Image {limit.text} must be {allowed}{where}, not {value}",
        )


def check_sections(image, hardware=None):
    """Raise `ImageError` where there are not as many constants as the hardware takes, or where
    program or constants have another CRC-32 than the one behind them.
    """
    if hardware is not None:
        count = constant_count(hardware)
        require(
            image.constants == count,
            Error.IMAGE_MODEL,
            f"Image constants must be {count} on this hardware, not {image.constants}",
        )
    for name, section in zip(("program", "constants"), image.sections, strict=True):
        require(
            is_sealed(section),
            Error.IMAGE_SECTION,
            f"Image section {name} must end with its CRC-32",
        )


def _check_embedding(image, embedding):
    """The embedding image must have the image's sizes and the hash that it names."""
    for name, value, wanted in (
        ("vocabulary", embedding.vocabulary, image.vocabulary),
        ("positions", embedding.positions, image.positions),
        ("width", embedding.width, image.embedding_width),
    ):
        require(
            value == wanted,
            Error.EMBEDDING_HEADER,
            f"Embedding image {name} must be {wanted}, not {value}",
        )
    require(
        embedding.hash == image.embedding_hash,
        Error.EMBEDDING_HASH,
        f"Embedding image must be {image.embedding_hash:#010x}, which the image names, "
        f"not {embedding.hash:#010x}",
    )


def unit_names(bits):
    """Names of the units in a word of unit bits; a bit that no unit has shows by its number."""
    return [UNITS[i] if i < len(UNITS) else f"bit {i}" for i in range(32) if bits >> i & 1]


def config_name(config_hash):
    """The hash as text, with the name of the configuration that has it."""
    return " ".join([f"{config_hash:#010x}", *(f"({name})" for name in named(config_hash))])


def named(config_hash):
    """{name: configuration} of that hash, among the named ones in every number format."""
    known = {
        (name if fmt == config.format else f"{name} with {fmt}"): replace(config, format=fmt)
        for name, config in HARDWARE.items()
        for fmt in FORMATS
    }
    return {name: config for name, config in known.items() if config.config_hash == config_hash}
