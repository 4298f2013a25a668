# SPDX-License-Identifier: Apache-2.0
"""The fields of an instruction word as Amaranth values, from the one table in firmware/isa.py."""

from firmware.isa import FIELDS

__all__ = ["fields"]


class _Fields:
    def __init__(self, instruction):
        self._instruction = instruction

    def __getattr__(self, name):
        field = FIELDS[name]
        start = 32 * field.word + field.low
        value = self._instruction[start : start + field.width]
        return value.as_signed() if field.signed else value


def fields(instruction):
    """`fields(x).shift` is the field `shift` of the 256-bit instruction x."""
    return _Fields(instruction)
