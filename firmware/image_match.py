# SPDX-License-Identifier: Apache-2.0
"""Whether a hardware takes an image, by the rules of its loader, and which one an image is for."""

from dataclasses import replace

from firmware import isa
from firmware.error_codes import Error
from firmware.image import require
from golden_model.config import FORMATS
from golden_model.hardware import HARDWARE, UNITS

__all__ = ["check_image", "config_name", "named", "unit_names"]


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
    for name, value, limit in (
        ("layers", image.layers, hardware.layers),
        ("classes", image.classes, hardware.classes),
        ("heads", image.heads, hardware.heads),
        ("positions", image.positions, hardware.positions),
        ("embedding width", image.embedding_width, hardware.embedding),
        ("instructions", image.instructions, isa.CAPACITY),
    ):
        require(
            value <= limit,
            Error.IMAGE_MODEL,
            f"Image {name} must be at most {limit} on this hardware, not {value}",
        )
    if embedding is not None:
        _check_embedding(image, embedding)


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
