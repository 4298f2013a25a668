# SPDX-License-Identifier: Apache-2.0
"""What the array multiplies: a code as an operand, and two ways to the product of two of them."""

from amaranth import Cat, Const, Mux, Signal, signed
from amaranth.lib import data

from hw.shapes import decoded

__all__ = ["operand_layout", "product", "shifted_product", "shifts", "unpack_products"]

WIDEST_FACTOR = 18  # signed bits that every FPGA's multiplier block takes


def shifts(config):
    """Whether products are made of mantissas and shifted."""
    # Without multiplier blocks, or where a decoded code is too wide for one: a multiplier of the
    # mantissas and a shifter are then smaller than a multiplier of the decoded codes.
    return config.multiplier == "fabric" or config.format.decoded_bits > WIDEST_FACTOR


def operand_layout(config):
    """A factor as the lanes keep it: the decoded code; or where products are shifted its parts.

    Those are mantissa * 2^exponent and the sign, which take fewer bits.
    """
    fmt = config.format
    if not shifts(config):
        return data.StructLayout({"value": decoded(config)})
    mantissa = fmt.mantissa + 1 if fmt.is_adaptivfloat else fmt.bits - 1
    return data.StructLayout({"mantissa": mantissa, "exponent": fmt.exponent, "negative": 1})


def unpack_products(config, value):
    """A code's operand, combinational; as golden_model.adaptivfloat.decode_integer."""
    fmt = config.format
    negative = value[-1]
    magnitude = value[:-1]
    mantissa = Cat(magnitude[: fmt.mantissa], magnitude.any())
    exponent = magnitude[fmt.mantissa :]
    if not fmt.is_adaptivfloat:
        if shifts(config):
            return Cat(Mux(negative, -magnitude, magnitude)[: len(magnitude)], negative)
        return Mux(magnitude.any(), value, 0)
    if shifts(config):
        return Cat(mantissa, exponent, negative)
    decoded = mantissa << exponent
    return Mux(negative, -decoded, decoded)


def _register(config, index):
    """Token `index`'s product, exact."""
    width = 2 * config.format.decoded_bits - 1
    return Signal(signed(width), name=f"product_{index}", reset_less=True)


def product(m, config, enable, index, operand, weight):
    """(product, carry) with a multiplier block, one stage; the carry has no bits."""
    result = _register(config, index)
    with m.If(enable):
        m.d.sync += result.eq(operand.value * weight.value)
    return result, Const(0, 0)


def shifted_product(m, config, enable, index, operand, weight, triple):
    """(product, carry) without a multiplier block, two stages; the product is their sum.

    `triple` is 3 * weight.mantissa. A negative product is left one too small, for its bits are only
    inverted, which takes no logic; the carry is that one.
    """
    width = len(operand.mantissa)
    single = weight.mantissa
    mantissas = Signal(2 * width + 1, name=f"mantissas_{index}", reset_less=True)
    exponent = Signal(config.format.exponent, name=f"exponent_{index}", reset_less=True)
    negative = Signal(name=f"negative_{index}", reset_less=True)
    carry = Signal(name=f"carry_{index}", reset_less=True)
    result = _register(config, index)
    bits = Cat(operand.mantissa, Const(0, 1))
    exponents = operand.exponent + weight.exponent
    # For every two bits of the one mantissa 0 to 3 times the other: half as many adders as bit by
    # bit, since 3 times the weight's is made once for all tokens.
    rows = [
        Mux(bits[at + 1], Mux(bits[at], triple, single << 1), Mux(bits[at], single, 0)) << at
        for at in range(0, width, 2)
    ]
    # The exponents' lowest bit shifts in the first stage, the others in the second.
    magnitude = Cat(mantissas << Cat(Const(0, 1), exponent), Const(0, 1)).as_signed()
    with m.If(enable):
        m.d.sync += [
            mantissas.eq(sum(rows[1:], rows[0]) << exponents[0]),
            exponent.eq(exponents[1:]),
            negative.eq(operand.negative ^ weight.negative),
            result.eq(Mux(negative, ~magnitude, magnitude)),
            carry.eq(negative),
        ]
    return result, carry
