# SPDX-License-Identifier: Apache-2.0
"""Signal shapes by their names in docs/numerics.md; no block writes a width as a literal."""

from amaranth import signed, unsigned

ACT = signed(16)
EXPONENTIAL = unsigned(17)  # Q1.16, 1.0 exact


def code(config):
    """A stored code of the config's number format."""
    return unsigned(config.format.bits)


def decoded(config):
    """The integer that a code stands for."""
    return signed(config.format.decoded_bits)


def accumulator(config):
    """The exact accumulator."""
    return signed(config.accumulator_bits)


def denominator(config):
    """The sum of a row's decoded numerators; 24 bits hold it for all but the widest formats."""
    fmt = config.format
    one = 1 << (fmt.top + fmt.mantissa)  # decoded 1.0
    return unsigned(max(24, (one * config.positions).bit_length()))
