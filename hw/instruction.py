# SPDX-License-Identifier: Apache-2.0
"""The instruction as the blocks see it: a view with the fields of firmware/isa.py."""

from amaranth.lib import data

from firmware.isa import FIELDS, WORDS
from hw.shapes import WORD, field

__all__ = ["instruction_layout"]


def instruction_layout():
    """256 bits with every field of `FIELDS`: overlays share bits, signed fields are signed."""
    return data.FlexibleLayout(
        WORDS * WORD.width,
        {
            name: data.Field(field(name), WORD.width * entry.word + entry.low)
            for name, entry in FIELDS.items()
        },
    )
