# SPDX-License-Identifier: Apache-2.0
"""The instruction as the blocks see it: a view with the fields of firmware/isa.py."""

from amaranth import signed, unsigned
from amaranth.lib import data

from firmware.isa import BYTES, FIELDS

__all__ = ["instruction_layout"]

WORD = 32  # bits


def instruction_layout():
    """256 bits with every field of `FIELDS`; overlays share their bits, signed fields are signed."""
    return data.FlexibleLayout(
        8 * BYTES,
        {
            name: data.Field(
                signed(field.width) if field.signed else unsigned(field.width),
                WORD * field.word + field.low,
            )
            for name, field in FIELDS.items()
        },
    )
