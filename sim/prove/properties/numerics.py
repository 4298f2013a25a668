# SPDX-License-Identifier: Apache-2.0
"""Arithmetic against its definition, for all inputs."""

import torch
from amaranth import Array, Const, Module, Mux, Signal, signed, unsigned
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from golden_model.adaptivfloat import decode_integer
from golden_model.config import INT8, NumberFormat
from golden_model.hardware import HardwareConfig
from hw.shapes import ACT, OFFSET
from sim.prove.prover import Mutant, Property

__all__ = ["NUMERICS"]

SHIFT = unsigned(4)
LOW = -3  # of a variable shift: to the left


class Saturated(wiring.Component):
    """`saturate` is the nearest number of the range, and says whether that changed it."""

    def __init__(self, saturate):
        self._saturate = saturate
        super().__init__({"value": In(signed(ACT.width + 5))})

    def elaborate(self, platform):
        m = Module()
        result, changed = self._saturate(m, self.value, ACT.width)
        low, high = -(1 << ACT.width - 1), (1 << ACT.width - 1) - 1
        wanted = Mux(self.value < low, low, Mux(self.value > high, high, self.value))
        m.d.comb += [
            Assert(result == wanted),
            Assert(changed == (wanted != self.value)),
        ]
        return m


class Rounded(wiring.Component):
    """`round_shift` is the nearest integer, of two as near the even one; by a variable amount."""

    def __init__(self, round_shift):
        self._round_shift = round_shift
        super().__init__({"value": In(ACT), "amount": In(SHIFT)})

    def elaborate(self, platform):
        m = Module()
        result = self._round_shift(m, self.value, self.amount, LOW)
        # value 2^-LOW is what the result stands for, times the power of two it was divided by.
        exact = self.value << -LOW
        twice = Signal(signed(ACT.width + (1 << SHIFT.width) + 4))  # twice the error
        unit = Signal(unsigned((1 << SHIFT.width) + 1))
        m.d.comb += [
            unit.eq(Const(1, 1) << self.amount),
            twice.eq((exact - (result << self.amount)) << 1),
            Assert((twice <= unit) & (twice >= -unit)),
            Assert(~((twice == unit) | (twice == -unit)) | ~result[0]),
        ]
        return m


class RoundedByConstant(wiring.Component):
    """The same by each constant amount, left and right."""

    def __init__(self, round_shift):
        self._round_shift = round_shift
        super().__init__({"value": In(ACT)})

    def elaborate(self, platform):
        m = Module()
        for amount in range(LOW, ACT.width + 2):
            result = self._round_shift(m, self.value, amount)
            if amount <= 0:
                m.d.comb += Assert(result == self.value << -amount)
                continue
            twice = Signal(signed(ACT.width + amount + 4), name=f"twice_{amount}")
            m.d.comb += twice.eq((self.value - (result << amount)) << 1)
            unit = 1 << amount
            m.d.comb += [
                Assert((twice <= unit) & (twice >= -unit)),
                Assert(~((twice == unit) | (twice == -unit)) | ~result[0]),
            ]
        return m


class Decoded(wiring.Component):
    """`decode` gives the golden model's integer of every code."""

    def __init__(self, decode, fmt):
        self._decode = decode
        self._fmt = fmt
        super().__init__({"code": In(fmt.bits)})

    def elaborate(self, platform):
        m = Module()
        fmt = self._fmt
        golden = decode_integer(torch.arange(1 << fmt.bits), fmt).tolist()
        shape = signed(fmt.decoded_bits)
        table = Array(Const(value, shape) for value in golden)
        m.d.comb += Assert(self._decode(self.code, fmt) == table[self.code])
        return m


class Encoded(wiring.Component):
    """`Encoder` gives the code whose value is nearest; of two as near the even one.

    Between two codes' magnitudes k and k + 1 the border is the mean of their integers. A value that
    is as near to both has the even one; so the borders decide which k is right.
    """

    SETTLED = 5  # cycles until the word that stays on the input has come out

    def __init__(self, encoder, fmt):
        self._fmt = fmt
        self._encoder = encoder(HardwareConfig(tokens=2, columns=2, format=fmt))
        super().__init__({"value": In(ACT), "offset": In(OFFSET)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = self._encoder
        cycles = Signal(range(self.SETTLED + 1))
        m.d.sync += cycles.eq(Mux(cycles == self.SETTLED, cycles, cycles + 1))
        held = Signal(ACT)
        held_offset = Signal(OFFSET)
        with m.If(cycles == 0):
            m.d.sync += [
                held.eq(self.value),
                held_offset.eq(self.offset),
            ]
        m.d.comb += [
            Assume((self.value == held) | (cycles == 0)),
            Assume((self.offset == held_offset) | (cycles == 0)),
            encoder.i.valid.eq(1),
            encoder.o.ready.eq(1),
            encoder.offset.eq(self.offset),
            encoder.i.payload.values[0].eq(self.value),
        ]
        nearest = self._is_nearest(m, encoder.o.payload.codes[0])
        with m.If(cycles == self.SETTLED):
            m.d.comb += nearest
        return m

    def _is_nearest(self, m, code):
        """The assertions on the code of `value`."""
        fmt = self._fmt
        most = (1 << fmt.bits - 1) - 1
        magnitudes = decode_integer(torch.arange(most + 1), fmt).tolist()
        # Twice the border below and above each magnitude, over 2^m of AdaptivFloat.
        below = [0, *(a + b for a, b in zip(magnitudes, magnitudes[1:], strict=False))]
        above = [*below[1:], 0]
        width = max(below).bit_length()
        point = fmt.mantissa if fmt.is_adaptivfloat else 0
        negative = self.value < 0
        # An int8 code is in two's complement, AdaptivFloat has a sign.
        sign = code[fmt.bits - 1]
        index = Signal(fmt.bits - 1, name="index")
        size = Signal(ACT.width, name="size")
        low = Signal(width, name="low")
        high = Signal(width, name="high")
        m.d.comb += [
            index.eq(code if fmt.is_adaptivfloat else Mux(sign, -code, code)),
            size.eq(Mux(negative, -self.value, self.value)),
            low.eq(Array(below)[index]),
            high.eq(Array(above)[index]),
        ]
        # size 2^-frac against border / 2 2^(b - m): both times 2^(m + 1), and the offset frac + b
        # on the side where it is not negative.
        up = Mux(self.offset >= 0, self.offset, 0)[: OFFSET.width - 1]
        down = Mux(self.offset < 0, -self.offset, 0)[: OFFSET.width]
        scaled = Signal(ACT.width + 1 + point + (1 << OFFSET.width - 1) + 1, name="scaled")
        lowest = Signal(width + (1 << OFFSET.width - 1), name="lowest")
        highest = Signal.like(lowest, name="highest")
        m.d.comb += [
            scaled.eq((size << 1 + point) << down),
            lowest.eq(low << up),
            highest.eq(high << up),
        ]
        even = ~index[0]
        return [
            Assert((index == 0) | (scaled > lowest) | (even & (scaled == lowest))),
            Assert((index == most) | (scaled < highest) | (even & (scaled == highest))),
            Assert((sign == negative) | (index == 0)),
            Assert((index != 0) | ~sign),
        ]


FIXED = "hw.arith.fixed"
FLOAT = "hw.arith.adaptivfloat"
FORMATS = {
    "int8": INT8,
    **{
        f"<{bits},{exponent}>": NumberFormat(bits, exponent)
        for bits in range(4, 9)
        for exponent in (2, 3, 4)
        if exponent < bits
    },
}
NUMERICS = (
    Property(
        "saturate: the nearest number of the range",
        f"{FIXED}:saturate",
        Saturated,
        1,
        True,
        (
            Mutant(
                "-(1 << (bits - 1)), (1 << (bits - 1)) - 1)",
                "-(1 << bits - 1) + 1, (1 << (bits - 1)) - 1)",
            ),
            Mutant("top = value[bits - 1 :]", "top = value[bits:]"),
        ),
    ),
    Property(
        "round_shift by a Value: the nearest integer, half to even",
        f"{FIXED}:round_shift",
        Rounded,
        1,
        True,
        (
            Mutant("(sticky | shifted[1])", "(sticky | shifted[2])"),
            Mutant("dropped = shifted[: 1 << k].any()", "dropped = shifted[1 : 1 << k].any()"),
        ),
    ),
    Property(
        "round_shift by an int: the nearest integer, half to even",
        f"{FIXED}:round_shift",
        RoundedByConstant,
        1,
        True,
        (
            Mutant("(value[: shift - 1].any() | value[shift])", "value[: shift - 1].any()"),
            Mutant("result.eq((value >> shift) + up)", "result.eq(value >> shift)"),
        ),
    ),
    *(
        Property(
            f"decode of {name}: the golden integer of every code",
            f"{FLOAT}:decode",
            lambda decode, fmt=fmt: Decoded(decode, fmt),
            1,
            True,
            (Mutant("(magnitude.any() | ~sign)", "(magnitude.any() | sign)"),)
            if not fmt.is_adaptivfloat
            else (Mutant("<< magnitude[m:]", "<< magnitude[m + 1 :]"),),
        )
        for name, fmt in FORMATS.items()
    ),
    *(
        Property(
            f"Encoder of {name}: the nearest code, half to even",
            f"{FLOAT}:Encoder",
            lambda encoder, fmt=fmt: Encoded(encoder, fmt),
            Encoded.SETTLED + 2,
            False,
            (Mutant("Mux(rounded > 127, 127, rounded)[:7]", "rounded[:7]"),)
            if not fmt.is_adaptivfloat
            else (Mutant("zero = ~scaled[0] | (linear <=", "zero = ~scaled[0] | (linear <"),),
            quick=name == "<8,3>",
        )
        for name, fmt in FORMATS.items()
    ),
)
