# SPDX-License-Identifier: Apache-2.0
"""A field of a 32-bit word: what the tables of registers, records and descriptors are made of."""

from dataclasses import dataclass

__all__ = ["Bits"]


@dataclass(frozen=True)
class Bits:
    """`width` bits of a word from bit `low` on."""

    name: str
    low: int
    width: int
    doc: str

    @property
    def mask(self):
        return ((1 << self.width) - 1) << self.low

    def take(self, word):
        """The field's value in a word, an int or an array of them."""
        return word >> self.low & (1 << self.width) - 1

    def put(self, value):
        """The word in which only this field is set; ValueError when the value needs more bits."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self.name} must be in 0..{(1 << self.width) - 1}, not {value}")
        return value << self.low
