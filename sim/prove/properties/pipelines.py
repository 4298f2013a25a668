# SPDX-License-Identifier: Apache-2.0
"""Pipelines: each word comes out once, in order, with its meta and the golden model's value."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import data, wiring

from golden_model.config import INT8
from golden_model.hardware import HardwareConfig
from hw.shapes import ACT, DISTANCE
from sim.prove.prover import Mutant, Property

__all__ = ["PIPELINES"]

NUMBER = unsigned(5)  # of words; more than are inside at once
LANES = 2
CONFIG = HardwareConfig(tokens=LANES, columns=2)
# With accumulators of 18 bits: enough to saturate.
SHORT = HardwareConfig(
    tokens=LANES,
    columns=2,
    rows=8,
    positions=8,
    hidden=8,
    feed_forward=8,
    embedding=8,
    format=INT8,
)
WIDTH = 18  # of an argument that is normalized


def tagged(wanted=0, live=0):
    """What a word carries as meta: its number, and what is wanted of it."""
    return data.StructLayout({"number": NUMBER, "live": live, "wanted": wanted})


def half_even(m, value, amount, name):
    """`value` by 2^amount, the nearest integer, of two as near the even one: by its definition."""
    floor = Signal.like(value, name=f"{name}_floor")
    rest = Signal(len(value), name=f"{name}_rest")  # value - floor * 2^amount
    twice = Signal(len(value) + 1, name=f"{name}_twice")
    unit = Signal(len(value) + 1, name=f"{name}_unit")
    m.d.comb += [
        floor.eq(value >> amount),
        rest.eq(value - (floor << amount)),
        twice.eq(rest << 1),
        unit.eq(Const(1, 1) << amount),
    ]
    # Beyond the width less than half is left of any number.
    gone = amount > len(value)
    return Mux(gone, 0, floor + ((twice > unit) | ((twice == unit) & floor[0])))


class InOrder(wiring.Component):
    """A block around a pipeline, whose words carry their number as meta.

    What is on `o` is the next word: nothing is lost, comes twice or overtakes. `steady` are ports
    that its users keep while words are inside.
    """

    def __init__(self, block, steady=()):
        self.block = block
        self._steady = steady
        super().__init__(dict(block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        # What is inside is known when the block is made: its stages are part of the induction.
        m.submodules.block = Fragment.get(block, platform)
        wiring.connect(m, wiring.flipped(self), block)
        now = Cat(getattr(block, name) for name in self._steady)
        before = Signal(len(now))
        begun = Signal()
        sent = Signal(NUMBER)
        given = Signal(NUMBER)
        m.d.sync += [
            begun.eq(1),
            before.eq(now),
            sent.eq(sent + (block.i.valid & block.i.ready)),
            given.eq(given + (block.o.valid & block.o.ready)),
        ]
        m.d.comb += [
            Assume(~begun | (before == now)),
            Assume(block.i.payload.meta.number == sent),
            Assert(~block.o.valid | (block.o.payload.meta.number == given)),
        ]
        # Of the stages, the oldest word first: its number is the next one's to be given.
        number = given
        for at, (valid, stage) in enumerate(reversed(block.pipeline.inside)):
            after = Signal(NUMBER, name=f"number_{at}")
            m.d.comb += [
                Assert(~valid | (stage.meta.number == number)),
                after.eq(number + valid),
            ]
            number = after
        m.d.comb += Assert(number == sent)
        self._values(m)
        return m

    def _values(self, m):
        """What is wanted of a word's value, in its stages too."""


class Requantized(InOrder):
    """`Requantize`: saturate(round_shift(accumulator + bias, shift)) by the definition of both."""

    def __init__(self, requantize):
        meta = tagged(data.ArrayLayout(ACT, LANES), LANES)
        super().__init__(requantize(SHORT, meta=meta), ("shift",))

    def _values(self, m):
        """The golden value goes in as meta; each stage's word leads to it, and `o` is it."""
        block = self.block
        i = block.i.payload
        o = block.o.payload
        first, second, third = block.pipeline.inside
        m.d.comb += [
            Assume(i.meta.live == i.live),
            Assert(~block.o.valid | (o.meta.live == o.live)),
            *(
                Assert(~valid | (stage.meta.live == stage.live))
                for valid, stage in block.pipeline.inside
            ),
        ]
        for n in range(LANES):
            total = Signal(signed(len(i.bias) + 1), name=f"total_{n}")
            m.d.comb += [
                total.eq(i.accumulators[n] + i.bias),
                Assume(i.meta.wanted[n] == self._golden(m, total, f"wanted_{n}")),
                Assert(~block.o.valid | (o.values[n] == o.meta.wanted[n])),
                self._is(first, n, self._golden(m, first[1].sum[n], f"first_{n}")),
                self._is(second, n, self._clamp(second[1].shifted[n])),
                self._is(third, n, third[1].value[n]),
            ]

    def _golden(self, m, total, name):
        return self._clamp(half_even(m, total, self.block.shift, name))

    def _clamp(self, value):
        low, high = -(1 << ACT.width - 1), (1 << ACT.width - 1) - 1
        return Mux(value < low, low, Mux(value > high, high, value))

    def _is(self, inside, n, value):
        """A stage's word would come out as is wanted."""
        valid, stage = inside
        return Assert(~valid | (stage.meta.wanted[n] == value))


class Distances(InOrder):
    """`Exponential`: min(round_shift(maximum - value, align), 2^16 - 1) goes into the tables."""

    def __init__(self, exponential):
        super().__init__(exponential(meta=tagged(DISTANCE)), ("align",))

    def _values(self, m):
        """The golden distance goes in as meta; each stage's leads to it, and `o` is it."""
        block = self.block
        i = block.i.payload
        o = block.o.payload
        difference = Signal(ACT.width + 1)
        first, *others = block.pipeline.inside
        m.d.comb += [
            difference.eq(i.maximum - i.value),
            Assume(i.maximum >= i.value),
            Assume(i.meta.wanted == self._golden(m, difference, "wanted")),
            Assert(~block.o.valid | (o.distance == o.meta.wanted)),
            Assert(~first[0] | (first[1].meta.wanted == self._golden(m, first[1].difference, "f"))),
            *(
                Assert(~valid | (stage.distance == stage.meta.wanted))
                for valid, stage in others[:-1]
            ),
        ]

    def _golden(self, m, difference, name):
        """To the left where `align` is negative."""
        align = self.block.align
        right = half_even(m, difference, Mux(align < 0, 0, align)[:5], name)
        left = difference << Mux(align < 0, -align, 0)[:6]
        most = (1 << DISTANCE.width) - 1
        exact = Mux(align < 0, left, right)
        return Mux(exact > most, most, exact)


ARITH = "hw.arith"
UNSTALLED = Mutant("Pipeline(m, self.i, self.o)", "Pipeline(m, self.i, self.o, stalls=False)")
STALLS_NEVER = Mutant("self.o, stalls=self._stalls)", "self.o, stalls=False)")
OTHER_META = Mutant("o.payload.meta.eq(word.meta)", "o.payload.meta.eq(self.i.payload.meta)")
# Block, what it is made of, mutants, whether these are quick.
ORDERED = (
    (f"{ARITH}.requantize:Requantize", (CONFIG,), (UNSTALLED,), True),
    (f"{ARITH}.exponential:Exponential", (), (OTHER_META,), True),
    (f"{ARITH}.functions:Reciprocal", (WIDTH,), (UNSTALLED, OTHER_META), True),
    (f"{ARITH}.functions:Rsqrt", (WIDTH,), (UNSTALLED,), True),
    (f"{ARITH}.adaptivfloat:Encoder", (CONFIG,), (STALLS_NEVER, OTHER_META), True),
    (
        f"{ARITH}.gelu:Activation",
        (CONFIG,),
        (STALLS_NEVER, Mutant("o.meta.eq(word.meta)", "o.meta.eq(i.meta)")),
        False,
    ),
    (
        "hw.array.normalize:Normalize",
        (CONFIG,),
        (
            Mutant("gated.valid.eq(self.i.valid & ready)", "gated.valid.eq(self.i.valid)"),
            Mutant("self.i.ready.eq(gated.ready & ready)", "self.i.ready.eq(gated.ready)"),
        ),
        True,
    ),
)
PIPELINES = (
    *(
        Property(
            f"{name.partition(':')[2]}: words with their meta, once, in order",
            name,
            lambda block, parts=parts: InOrder(block(*parts, meta=tagged())),
            1,
            True,
            mutants,
            quick_mutants=quick,
        )
        for name, parts, mutants, quick in ORDERED
    ),
    Property(
        "Requantize: golden value and live of every word, with its meta",
        f"{ARITH}.requantize:Requantize",
        Requantized,
        1,
        True,
        (
            Mutant("i.accumulators[n] + i.bias for n", "i.accumulators[n] - i.bias for n"),
            Mutant("word.sum[n], self.shift)", "word.sum[n], self.shift[:-1])"),
            Mutant("word.shifted[n], ACT.width)", "word.shifted[n], ACT.width - 1)"),
            Mutant("o.live.eq(word.live)", "o.live.eq(i.live)"),
        ),
        quick=False,
        quick_mutants=False,
    ),
    Property(
        "Exponential: golden distance of every word, with its meta",
        f"{ARITH}.exponential:Exponential",
        Distances,
        2,
        True,
        (
            Mutant("high = len(difference) + 1", "high = len(difference) - 2"),
            Mutant(".any(), -1, shifted))", ".any(), 0, shifted))"),
        ),
        quick=False,
    ),
)
