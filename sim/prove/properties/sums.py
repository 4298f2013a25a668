# SPDX-License-Identifier: Apache-2.0
"""Products and their sums: exact, whatever the codes; no accumulator overflows."""

from amaranth import Const, Module, Signal, signed
from amaranth.hdl import Assert, Assume
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from golden_model.config import AF8, INT8, NumberFormat
from golden_model.hardware import HARDWARE, HardwareConfig
from hw.array.mac_lane import header_layout
from hw.array.product import operand_layout, unpack_products
from hw.array.ring import Ring
from sim.prove.prover import Mutant, Property

__all__ = ["SUMS"]


class Multiplied(wiring.Component):
    """`shifted_product` of two codes is, with its carry, the product of what they stand for."""

    def __init__(self, shifted_product, config):
        self._product = shifted_product
        self._config = config
        code = config.format.bits
        super().__init__({"operand": In(code), "weight": In(code), "enable": In(1)})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        operand, weight = (
            data.View(operand_layout(config), unpack_products(config, code))
            for code in (self.operand, self.weight)
        )
        triple = weight.mantissa * 3
        result, carry = self._product(m, config, self.enable, 0, operand, weight, triple)
        decoded = unpack_products(
            HardwareConfig(tokens=2, columns=2, format=config.format), self.operand
        )
        other = unpack_products(
            HardwareConfig(tokens=2, columns=2, format=config.format), self.weight
        )
        shape = signed(2 * config.format.decoded_bits)
        stages = [Signal(shape, name=f"wanted_{n}") for n in range(2)]
        valid = Signal(2)
        with m.If(self.enable):
            m.d.sync += [
                valid.eq(valid << 1 | 1),
                stages[0].eq(decoded * other),
                stages[1].eq(stages[0]),
            ]
        with m.If(valid[1]):
            m.d.comb += Assert(result + carry == stages[1])
        return m


class Bounded(wiring.Component):
    """|product| of two decoded codes is at most the square of the largest one."""

    def __init__(self, product, fmt):
        self._product = product
        self._config = HardwareConfig(tokens=2, columns=2, format=fmt)
        super().__init__({"operand": In(fmt.bits), "weight": In(fmt.bits)})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        operand, weight = (
            data.View(operand_layout(config), unpack_products(config, code))
            for code in (self.operand, self.weight)
        )
        result, _ = self._product(m, config, Const(1, 1), 0, operand, weight)
        most = config.format.largest**2
        m.d.comb += Assert((result <= most) & (result >= -most))
        return m


class Added(wiring.Component):
    """A lane's sums of a column: exact, of any products of codes, at most `reduction` of them.

    After n products no sum is beyond n times the largest one: so `reduction` of them fit.
    """

    def __init__(self, mac_lane, config):
        self.lane = mac_lane(config)
        shape = signed(2 * config.format.decoded_bits - 1)
        super().__init__(
            {
                "valid": In(1),
                "last": In(1),
                "dense": In(1),
                "ready": In(1),
                "term": In(shape),
                "carry": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lane = self.lane
        config = lane.config
        most = config.format.largest**2
        lane._enable = Signal()
        lane._valid = self.valid
        m.submodules.headers = headers = Ring(header_layout(config), 2)
        m.d.comb += [
            lane.window[0].dense.eq(self.dense),
            lane.o.ready.eq(self.ready),
        ]
        lane._accumulate(m, self.last, [(self.term, self.carry)], headers)
        exact = Signal(signed(config.accumulator_bits + 2))
        after = Signal.like(exact)
        number = Signal(range(config.reduction + 1))  # products in the sum
        wanted = Signal.like(exact)  # of the column before
        known = Signal()
        total = lane.totals[0]
        m.d.comb += [
            after.eq(exact + self.term + self.carry),
            Assume((self.term + self.carry <= most) & (self.term + self.carry >= -most)),
            Assume(~self.valid | (number != config.reduction)),
            Assert(number <= config.reduction),
            Assert((exact <= number * most) & (exact >= number * -most)),
            Assert(total == exact),
            Assert(~known | (lane.o.payload.accumulators[0] == wanted)),
        ]
        with m.If(self.valid & lane._enable):
            m.d.sync += [
                exact.eq(after),
                number.eq(number + 1),
            ]
            with m.If(self.last):
                m.d.sync += [
                    exact.eq(0),
                    number.eq(0),
                    wanted.eq(after),
                    known.eq(1),
                ]
        return m


class Serial(wiring.Component):
    """`SerialMultiplier`: the product of what was there at the start, in its time, until the next.

    `steps` may be fewer where b is as narrow as that; the product is then `narrow`'s.
    """

    WIDTHS = 5, 6

    def __init__(self, multiplier):
        self.block = multiplier(*self.WIDTHS)
        super().__init__(dict(self.block.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        wiring.connect(m, wiring.flipped(self), block)
        a_width, b_width = self.WIDTHS
        left = Signal(range(block.latency))  # steps to go
        steps = Signal(range(block.latency))  # of this product
        wanted = Signal(a_width + b_width)
        ends = Signal()
        known = Signal()
        m.d.comb += [
            Assume((block.steps != 0) & (block.steps <= block.latency - 1)),
            Assume((self.b >> (2 * block.steps)) == 0),
            Assert(block.done == ends),
        ]
        m.d.sync += ends.eq(left == 1)
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(block.start):
            m.d.sync += [
                left.eq(block.steps),
                steps.eq(block.steps),
                wanted.eq(self.a * self.b),
                known.eq(1),
            ]
        for width in range(2, b_width + 1, 2):
            with m.If(known & (left == 0) & (steps == width // 2)):
                m.d.comb += Assert(block.narrow(width) == wanted)
        with m.If(known & (left == 0) & (steps == b_width // 2)):
            m.d.comb += Assert(block.product == wanted)
        return m


LANE = "hw.array.mac_lane"
PRODUCT = "hw.array.product"
TINY = HardwareConfig(
    tokens=2, columns=2, rows=4, positions=4, hidden=4, feed_forward=4, embedding=4, heads=1
)
CLEARED = Mutant("total.eq(0)", "total.eq(added)")
LATE = Mutant("result[index].eq(added)", "result[index].eq(total)")
SUMS = (
    *(
        Property(
            f"product of {fmt}: at most the square of the largest code",
            f"{PRODUCT}:product",
            lambda block, fmt=fmt: Bounded(block, fmt),
            1,
            True,
            (
                Mutant(
                    "result.eq(operand.value * weight.value)",
                    "result.eq(operand.value * (weight.value + 1))",
                ),
            ),
        )
        for fmt in (AF8, INT8)
    ),
    *(
        Property(
            f"shifted_product of {fmt}: exact",
            f"{PRODUCT}:shifted_product",
            lambda block, fmt=fmt: Multiplied(
                block, HardwareConfig(tokens=2, columns=2, format=fmt, multiplier="fabric")
            ),
            4,
            False,
            (
                Mutant("carry.eq(negative)", "carry.eq(0)"),
                Mutant("<< exponents[0]", "<< exponents[1]"),
            ),
        )
        for fmt in (NumberFormat(4, 2), NumberFormat(5, 2))
    ),
    Property(
        "SerialMultiplier of 5 by 6 bits: the product, in its time, also of a narrow factor",
        "hw.arith.multiply:SerialMultiplier",
        Serial,
        14,
        False,
        (
            Mutant("factor << bit, 0)", "factor, 0)"),
            Mutant("self.done.eq(left == 1)", "self.done.eq(left == 0)"),
            Mutant("left.eq(self.steps)", "left.eq(self._steps)"),
            Mutant("with m.Elif(self.start):", "with m.If(self.start):"),
        ),
    ),
    Property(
        "MacLane of 4 rows: sums are exact, and no accumulator overflows",
        f"{LANE}:MacLane",
        lambda block: Added(block, TINY),
        1,
        True,
        (
            CLEARED,
            LATE,
            Mutant(
                "total = Signal(accumulator(self.config),",
                "total = Signal(range(-(1 << self.config.accumulator_bits - 2),"
                " 1 << self.config.accumulator_bits - 2),",
            ),
        ),
    ),
    *(
        Property(
            f"MacLane of {name}: sums are exact, and no accumulator overflows",
            f"{LANE}:MacLane",
            lambda block, name=name: Added(block, HARDWARE[name]),
            1,
            True,
            (CLEARED, LATE),
            quick=name == "ci",
        )
        for name in ("ci", "edgebert")
    ),
)
