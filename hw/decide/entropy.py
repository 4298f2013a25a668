# SPDX-License-Identifier: Apache-2.0
"""Entropy of the logits, exit decision and class (golden_model/entropy.py and exit.py)."""

from amaranth import Array, C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC, EXP_IN_FRAC, LN_FRAC, THRESHOLD_BITS, THRESHOLD_FRAC
from golden_model.functions import LN2, ln_table, reciprocal_table
from hw.arith.exponential import Exponential
from hw.arith.fixed import round_shift
from hw.arith.multiply import SerialMultiplier
from hw.shapes import ACT, ALIGN, DISTANCE, MANTISSA, THRESHOLD, index

__all__ = ["Entropy"]

CLASS = 9  # cycles of a class: its exponential, and two products
REST = 28  # besides: the logarithm, the quotient and the comparison
ALONE = 31  # of a single class, whose exponential is 1

POINT = 15  # z is normalized to u = 2^15 .. 2^16
NORMALIZED = unsigned(POINT + 2)  # u; and the factor s / 2^p
GUARD = 3  # fraction bits of the factor
PRODUCT_FRAC = EXP_IN_FRAC + EXP_FRAC  # of d e
FRACTION = ln_table().fraction_bits  # low bits of u, between two table entries
# Bits of the steepest slope of both tables.
SLOPE = max(map(abs, (*ln_table().slope, *reciprocal_table().slope))).bit_length()
LOGARITHM = range(LN2 * 4 + 1)  # ln z, LN_FRAC fraction bits: z is at most 16 classes
ENTRY = data.StructLayout(
    {"ln": LN_FRAC, "ln_slope": SLOPE, "mantissa": MANTISSA, "mantissa_slope": SLOPE}
)


def cycles(classes):
    """From the last of `classes` logits to the result."""
    return CLASS * classes + REST if classes > 1 else ALONE


def _table():
    """Both tables side by side, because they have the same index.

    ENTRY keeps the magnitudes of the slopes: the logarithm rises, the mantissa falls.
    """
    return [
        {"ln": ln, "ln_slope": rise, "mantissa": mantissa, "mantissa_slope": -fall}
        for ln, rise, mantissa, fall in zip(
            ln_table().base,
            ln_table().slope,
            reciprocal_table().base,
            reciprocal_table().slope,
            strict=True,
        )
    ]


class Entropy(wiring.Component):
    """With d = max - x, e = exp(-d), z = sum e, s = sum d e: entropy = ln z + s / z.

    exits = z (threshold - ln z) > s: exact and strict, the same inequality as entropy < threshold;
    `entropy` is rounded and only reported.

    Latency `cycles` from the last logit to the result; a logit a cycle, the next sentence's when
    the result has gone. Stalled: the result on `o` is held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    align : In(ALIGN), fraction bits of the logits - 11
    threshold : In(THRESHOLD); both stable from the first logit to the result
    i : In(stream of {value: ACT, last}), 1 .. `classes` logits
    o : Out(stream of {exits, entropy: THRESHOLD, class}); class is the lower one of equals
    """

    def __init__(self, config):
        self.config = config
        number = index(config.classes)
        result = data.StructLayout({"exits": 1, "entropy": THRESHOLD, "class": number})
        super().__init__(
            {
                "align": In(ALIGN),
                "threshold": In(THRESHOLD),
                "i": In(stream.Signature(data.StructLayout({"value": ACT, "last": 1}))),
                "o": Out(stream.Signature(result)),
            }
        )
        top = config.classes << EXP_FRAC
        # The largest logit has d = 0 and e = 1: z begins with 1, and only the others are added.
        self._z = Signal(range(top + 1), init=1 << EXP_FRAC)
        self._s = Signal(range((top << EXP_IN_FRAC) + 1))  # d e <= 1 / e
        self._maximum = Signal(ACT)
        self._number = Signal(number)
        self._left = Signal(number)  # exponentials to come
        self._adding = Signal()  # a product for s is in progress
        self._position = Signal(range(len(self._z)))  # p, leading one of z
        self._u = Signal(NORMALIZED)
        self._factor = Signal(NORMALIZED)
        self._ln = Signal(LOGARITHM)
        self._mantissa = Signal(MANTISSA)
        # One serial multiplier does it all: a verdict is wanted once a sentence and layer, and a
        # multiplier for each product would stand idle the rest of the time.
        self._multiplier = SerialMultiplier(max(len(self._z), 2 * SLOPE + FRACTION), THRESHOLD_BITS)
        self._product = self._multiplier.product

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = self._multiplier
        m.submodules.logits = logits = Memory(shape=ACT, depth=self.config.classes, init=[])
        m.submodules.table = table = Memory(shape=ENTRY, depth=len(_table()), init=_table())
        m.submodules.exponential = exponential = Exponential()
        read = logits.read_port()
        write = logits.write_port()
        entry = table.read_port()
        self._normalize(m)
        with m.If(self._adding & self._multiplier.done):
            m.d.sync += [
                self._s.eq(self._s + self._multiplier.narrow(DISTANCE.width)),
                self._adding.eq(0),
            ]
        m.d.comb += [
            write.addr.eq(self._number),
            write.data.eq(self.i.payload.value),
            entry.addr.eq((self._u - (1 << POINT)) >> FRACTION),
            exponential.align.eq(self.align),
            exponential.i.payload.value.eq(read.data),
            exponential.i.payload.maximum.eq(self._maximum),
        ]
        with m.FSM() as fsm:
            m.d.comb += entry.en.eq(fsm.ongoing("LOOK"))  # only then `_u` is in the table's range
            # Logits are kept, and the largest is found.
            with m.State("STORE"):
                m.d.comb += [
                    self.i.ready.eq(1),
                    write.en.eq(self.i.valid),
                ]
                self._store(m)
            # The others' shares of z and s.
            with m.State("SUM"):
                self._read(m, read, exponential.i)
                self._add(m, exponential.o)
                with m.If(self._left == 0):
                    m.next = "LOOK"
            # The table is read while the last share of s is multiplied.
            with m.State("LOOK"):
                with m.If(~self._adding | self._multiplier.done):
                    m.next = "SLOPES"
            # ln z = table + (p - 16) ln 2; the mantissa of 1 / z.
            with m.State("SLOPES"):
                self._interpolate(m, entry.data)
            self._result(m)
        return m

    def _result(self, m):
        """Three states: decision, reported entropy, and the result on `o`."""
        # The decision; a threshold below ln z is below the entropy too.
        with m.State("DECIDE"):
            room = Signal(THRESHOLD)
            m.d.comb += room.eq(Mux(self.threshold > self._ln, self.threshold - self._ln, 0))
            self._multiply(m, self._z, room, "QUOTIENT")
            m.d.sync += self.o.payload.exits.eq(
                self._product > (self._s << (EXP_FRAC + LN_FRAC - PRODUCT_FRAC))
            )
        # s / z, with the entropy.
        with m.State("QUOTIENT"):
            self._multiply(m, self._factor, self._mantissa, "GIVE")
            self._report(m)
        # The result is offered, and the sums are set back.
        with m.State("GIVE"):
            m.d.comb += self.o.valid.eq(1)
            m.d.sync += [
                self._number.eq(0),
                self._z.eq(self._z.init),
                self._s.eq(0),
            ]
            with m.If(self.o.ready):
                m.next = "STORE"

    def _multiply(self, m, a, b, following, width=None):
        """a * b; `following` is the state after the one cycle in which the product is complete."""
        with m.If(self._multiplier.multiply(m, a, b, width)):
            m.next = following

    def _store(self, m):
        """The largest logit and its class; the last one's number is how many others there are."""
        value = self.i.payload.value
        number = self._number
        with m.If(self.i.valid):
            with m.If((number == 0) | (value > self._maximum)):
                m.d.sync += [
                    self._maximum.eq(value),
                    self.o.payload["class"].eq(number),
                ]
            with m.If(self.i.payload.last):
                m.d.sync += self._left.eq(number)
                m.next = "SUM"
            with m.Else():
                m.d.sync += number.eq(number + 1)

    def _read(self, m, read, i):
        """All logits but the largest, from the last to the first, one a cycle."""
        number = self._number
        fetched = Signal()
        more = number != 0
        m.d.comb += [
            # Below the largest one they are one place further down.
            read.addr.eq(Mux(number > self.o.payload["class"], number, number - 1)),
            read.en.eq(i.ready & more),
            i.valid.eq(fetched),
        ]
        with m.If(i.ready):
            m.d.sync += [
                fetched.eq(more),
                number.eq(number - more),
            ]

    def _add(self, m, o):
        """An exponential when the multiplier is free: to z now, d e to s when it is complete."""
        multiplier = self._multiplier
        m.d.comb += [
            o.ready.eq(~self._adding | multiplier.done),
            multiplier.start.eq(o.valid & o.ready),
            multiplier.a.eq(o.payload.exponential),
            multiplier.b.eq(o.payload.distance),
            multiplier.steps.eq(multiplier.steps_of(DISTANCE.width)),
        ]
        with m.If(multiplier.start):
            m.d.sync += [
                self._adding.eq(1),
                self._z.eq(self._z + o.payload.exponential),
                self._left.eq(self._left - 1),
            ]

    def _interpolate(self, m, entry):
        """Both slopes times the low bits of u, side by side in one product."""
        slopes = Cat(entry.ln_slope, C(0, FRACTION), entry.mantissa_slope)
        width = SLOPE + FRACTION
        self._multiply(m, slopes, self._u[:FRACTION], "DECIDE", FRACTION)
        product = self._multiplier.narrow(FRACTION)
        rise = round_shift(m, product[:width], FRACTION)
        fall = round_shift(m, product[width : 2 * width], FRACTION)
        power = Array(C(k * LN2, LOGARITHM) for k in range(8))[self._position - EXP_FRAC]
        m.d.sync += [
            self._ln.eq(entry.ln + rise + power),
            self._mantissa.eq(entry.mantissa - fall),
        ]

    def _normalize(self, m):
        """u = round_shift(z, p - 15) and the factor round_shift(s, p - 3).

        p is 16 or more, because exp(0) is in z.
        """
        m.d.comb += self._position.eq(EXP_FRAC)
        for k in range(EXP_FRAC, len(self._z)):
            with m.If(self._z[k]):
                m.d.comb += self._position.eq(k)
        top = len(self._z) - 1
        # What every p shifts out goes first, and what it drops stays in one sticky bit: so the
        # shifter is narrower, and rounds alike.
        common = EXP_FRAC - GUARD - 2
        s = Cat(self._s[: common + 1].any(), self._s[common + 1 :])
        m.d.sync += [
            self._u.eq(round_shift(m, self._z, self._position - POINT, high=top - POINT)),
            self._factor.eq(
                round_shift(m, s, self._position - GUARD - common, high=top - GUARD - common)
            ),
        ]

    def _report(self, m):
        """ln z + s / z at the threshold's scale, clamped."""
        quotient = round_shift(
            m, self._product[: 2 * len(self._factor)], PRODUCT_FRAC + GUARD - THRESHOLD_FRAC
        )
        entropy = self._ln + quotient
        m.d.sync += self.o.payload.entropy.eq(Mux(entropy >> THRESHOLD_BITS != 0, -1, entropy))
