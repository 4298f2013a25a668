# SPDX-License-Identifier: Apache-2.0
"""The two functions that drop bits, as in golden_model/fixed.py, and the leading-one shifter.

Each takes the module `m` first, adds combinational logic to it and returns a Value that is wide
enough for every result.
"""

from amaranth import Const, Mux, Shape, Signal, Value, signed, unsigned

from hw.shapes import ACT

__all__ = [
    "align",
    "clamp",
    "clamp_setting",
    "count",
    "normalize",
    "round_shift",
    "saturate",
]


def _named(m, name, value):
    """A Signal that is `value`: what is used more than once is built once."""
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


def round_shift(m, value, shift, low=0, high=None):
    """Arithmetic right shift of `value` by `shift`, round half to even; left for a negative one.

    `shift` is an int, or an unsigned Value that begins with 0 for the shift `low` (<= 0) and ends
    with that for `high` (default: its largest value), beyond which the result is undefined. The
    result has the width of `value`, minus a constant `shift` (plus one for the carry), plus -`low`.
    """
    value = Value.cast(value)
    if isinstance(shift, int):
        return _round_shift_constant(m, value, shift)
    # No subtraction of `low` here: it would stand in front of the shifter.
    amount = shift if high is None else shift[: (high - low).bit_length()]
    # To the left as far as any amount goes, and then to the right alone: one shifter, no second one
    # for the other direction. Rounding wants two things of what is shifted out: the bit below the
    # quotient, which stays in `shifted`, and whether any bit below that one is set, `sticky`.
    shifted = _named(m, "shift_in", value << (1 - low))
    sticky = Const(0, 1)
    # The widest step first: its many bits are looked at while the others shift.
    for k, bit in reversed(list(enumerate(amount))):
        dropped = shifted[: 1 << k].any()
        sticky = _named(m, f"shift_sticky_{k}", sticky | (bit & dropped))
        shifted = _named(m, f"shift_{k}", Mux(bit, shifted >> (1 << k), shifted))
    quotient = shifted >> 1
    shape = Shape(len(shifted) - 1, quotient.shape().signed)
    result = Signal(shape, name="shift_result")
    m.d.comb += result.eq(quotient + (shifted[0] & (sticky | shifted[1])))
    return result


def _round_shift_constant(m, value, shift):
    """`round_shift` by an int: wires and one adder."""
    if shift <= 0:
        return value << -shift
    if len(value) <= shift:
        value = _named(
            m, "extended", Value.cast(value | Const(0, Shape(shift + 1, value.shape().signed)))
        )
    up = value[shift - 1] & (value[: shift - 1].any() | value[shift])
    result = Signal(Shape(len(value) - shift + 1, value.shape().signed), name="shift_result")
    m.d.comb += result.eq((value >> shift) + up)
    return result


def saturate(m, value, bits):
    """(value clamped to the signed range of `bits`, whether that changed it)."""
    # Adding 0 makes it signed and at least `bits` wide. It fits if the bits from the sign on agree.
    value = _named(m, "saturate_in", Value.cast(value) + Const(0, signed(bits)))
    top = value[bits - 1 :]
    changed = _named(m, "saturated", top.any() & ~top.all())
    limit = Mux(value[-1], -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    result = Signal(signed(bits), name="saturate_out")
    m.d.comb += result.eq(Mux(changed, limit, value))
    return result, changed


def clamp(m, value, low, high):
    """`value` held inside `low`..`high` (ints)."""
    result = Signal(range(low, high + 1), name="clamped")
    m.d.comb += result.eq(Mux(value < low, low, Mux(value > high, high, value)))
    return result


def clamp_setting(m, value, low, high):
    """A setting, clamped, less `low`: what `round_shift` wants. A cycle late.

    A setting is stable from before the first word to the last, so comparisons and subtraction do
    not stand in front of a shifter.
    """
    held = Signal(range(high - low + 1), name="held")
    m.d.sync += held.eq(clamp(m, value, low, high) - low)
    return held


def align(m, value, shift):
    """round_shift(value, shift) of an ACT, to be saturated; `shift` is any signed setting."""
    # From 16 to the left all amounts give the same after that, from 16 to the right all give 0: the
    # shifter has no more steps.
    low, high = -ACT.width, ACT.width - 1
    gone = Signal(name="gone")
    m.d.sync += gone.eq(shift > high)
    value = Mux(gone, 0, value).as_signed()
    return round_shift(m, value, clamp_setting(m, shift, low, high), low, high)


def normalize(m, value, between=lambda shifted, position: (shifted, position)):
    """(`value` shifted left until its top bit is set, position of its leading one).

    `value` is unsigned; zero gives (0, 0). `between` may put registers behind the first two steps.
    """
    width = len(value)
    shifted = value
    position = Const(width - 1, range(width))
    steps = (width - 1).bit_length()
    # Halves, quarters, .. of the width: a step shifts when its part at the top is empty.
    for k in reversed(range(steps)):
        if k == steps - 3:
            shifted, position = between(shifted, position)
        step = 1 << k
        empty = _named(m, f"normalize_empty_{k}", ~shifted[max(width - step, 0) :].any())
        shifted = _named(m, f"normalize_{k}", Mux(empty, shifted << step, shifted)[:width])
        position = Mux(empty, position - step, position)
    result = Signal(range(width), name="leading_one")
    m.d.comb += result.eq(Mux(shifted[-1], position, 0))
    return shifted, result


def count(bits):
    """How many of the `bits` (a list of 1-bit Values) are set."""
    total = list(bits) or [Const(0, unsigned(1))]
    # Python's sum would be a chain, each of whose sums is a bit wider: a tree has the right widths.
    while len(total) > 1:
        total = [sum(total[i + 1 : i + 2], total[i]) for i in range(0, len(total), 2)]
    return total[0]
