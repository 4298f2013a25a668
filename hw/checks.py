# SPDX-License-Identifier: Apache-2.0
"""What a block asks of its own parameters; a machine's sizes check themselves (HardwareConfig)."""

from amaranth import Shape

__all__ = ["check_count", "check_shape"]


def check_count(thing, value, least=1):
    """Raises TypeError when `value` is no integer, ValueError when it is below `least`."""
    # bool is an int in Python, and no count.
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{thing} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{thing} must be at least {least}, not {value}")


def check_shape(thing, value):
    """Raises TypeError when `value` is no shape: a number of bits, a layout, a range."""
    try:
        Shape.cast(value)
    except TypeError as error:
        raise TypeError(f"{thing} must be a shape, not {value!r}") from error
