# SPDX-License-Identifier: Apache-2.0
"""Entropy of the logits, exit decision and class (golden_model/entropy.py, golden_model/exit.py)."""

from amaranth import Array, C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC, EXP_IN_FRAC, LN_FRAC, THRESHOLD_BITS, THRESHOLD_FRAC
from golden_model.functions import LN2, ln_table, reciprocal_table
from hw.arith.exponential import ALIGN, DISTANCE, Exponential
from hw.arith.fixed import round_shift
from hw.arith.multiply import SerialMultiplier
from hw.shapes import ACT, index

__all__ = ["THRESHOLD", "Entropy"]

THRESHOLD = unsigned(THRESHOLD_BITS)  # Q2.16 nats, the reported entropy too
POINT = 15  # z is normalized to u = 2^15 .. 2^16
GUARD = 3  # fraction bits of the factor s / 2^p
PRODUCT_FRAC = EXP_IN_FRAC + EXP_FRAC  # of d e
FRACTION = ln_table().fraction_bits  # low bits of u, between two table entries
SLOPE = 9  # bits of a slope
ENTRY = data.StructLayout({"ln": 16, "ln_slope": SLOPE, "mantissa": 17, "mantissa_slope": SLOPE})


CLASS = 9  # cycles of a class: its exponential, and two products
REST = 28  # besides: the logarithm, the quotient and the comparison
ALONE = 31  # of a single class, whose exponential is 1


def cycles(classes):
    """From the last of `classes` logits to the result."""
    return CLASS * classes + REST if classes > 1 else ALONE


def _table():
    """Both tables side by side, because they have the same index. ENTRY keeps the magnitudes of the slopes."""
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
    """With d = max - x, e = exp(-d), z = sum e, s = sum d e:  entropy = ln z + s / z; exits = z (threshold - ln z) > s.

    `exits` is exact and strict (the same inequality as z ln z + s < threshold z); `entropy` is rounded and only reported.
    One serial multiplier does it all. The largest logit has d = 0 and e = 1, so z begins with 1 and only the others are added. Latency from the last
    logit to the result: `cycles`; the next logits are taken when it has gone. Holds its output
    when stalled.

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
        self._config = config
        super().__init__(
            {
                "align": In(ALIGN),
                "threshold": In(THRESHOLD),
                "i": In(stream.Signature(data.StructLayout({"value": ACT, "last": 1}))),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"exits": 1, "entropy": THRESHOLD, "class": index(config.classes)}
                        )
                    )
                ),
            }
        )
        top = config.classes << EXP_FRAC
        self._z = Signal(range(top + 1), init=1 << EXP_FRAC)
        self._s = Signal(range((top << EXP_IN_FRAC) + 1))  # d e <= 1 / e
        self._maximum = Signal(ACT)
        self._number = Signal(index(config.classes))
        self._left, self._adding = (
            Signal(index(config.classes)),
            Signal(),
        )  # exponentials to come; a product for s is in progress
        self._position = Signal(range(len(self._z)))  # p, leading one of z
        self._u = Signal(POINT + 2)
        self._factor = Signal(POINT + 2)
        self._ln = Signal(range(LN2 * 4 + 1))
        self._mantissa = Signal(POINT + 2)
        self._multiplier = SerialMultiplier(max(len(self._z), 2 * SLOPE + FRACTION), THRESHOLD_BITS)
        self._product = self._multiplier.product

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = self._multiplier
        m.submodules.logits = logits = Memory(shape=ACT, depth=self._config.classes, init=[])
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
            m.d.comb += entry.en.eq(fsm.ongoing("Look"))  # only then `_u` is in the table's range
            with m.State("Store"):  # keep the logits, find the largest
                m.d.comb += [
                    self.i.ready.eq(1),
                    write.en.eq(self.i.valid),
                ]
                self._store(m)
            with m.State("Sum"):  # the others' shares of z and s
                self._read(m, read, exponential.i)
                self._add(m, exponential.o)
                with m.If(self._left == 0):
                    m.next = "Look"
            with m.State("Look"):  # while the last share of s is multiplied
                with m.If(~self._adding | self._multiplier.done):
                    m.next = "Slopes"
            with m.State("Slopes"):  # ln z = table + (p - 16) ln 2; the mantissa of 1 / z
                self._interpolate(m, entry.data)
            with m.State("Decide"):
                room = Signal(THRESHOLD)
                m.d.comb += room.eq(Mux(self.threshold > self._ln, self.threshold - self._ln, 0))
                self._multiply(m, self._z, room, "Quotient")
                m.d.sync += self.o.payload.exits.eq(
                    self._product > (self._s << (EXP_FRAC + LN_FRAC - PRODUCT_FRAC))
                )
            with m.State("Quotient"):  # s / z
                self._multiply(m, self._factor, self._mantissa, "Give")
                self._report(m)
            with m.State("Give"):
                m.d.comb += self.o.valid.eq(1)
                m.d.sync += [
                    self._number.eq(0),
                    self._z.eq(self._z.init),
                    self._s.eq(0),
                ]
                with m.If(self.o.ready):
                    m.next = "Store"
        return m

    def _multiply(self, m, a, b, following, width=None):
        """a * b; `following` is the state after the one cycle in which the product is complete."""
        with m.If(self._multiplier.multiply(m, a, b, width)):
            m.next = following

    def _store(self, m):
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
                m.next = "Sum"
            with m.Else():
                m.d.sync += number.eq(number + 1)

    def _read(self, m, read, i):
        """All logits but the largest, from the last to the first, one a cycle."""
        number = self._number
        fetched = Signal()
        more = number != 0
        m.d.comb += [
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
        self._multiply(m, slopes, self._u[:FRACTION], "Decide", FRACTION)
        product = self._multiplier.narrow(FRACTION)
        rise = round_shift(m, product[:width], FRACTION)
        fall = round_shift(m, product[width : 2 * width], FRACTION)
        power = Array(C(k * LN2, range(LN2 * 4 + 1)) for k in range(8))[self._position - EXP_FRAC]
        m.d.sync += [
            self._ln.eq(entry.ln + rise + power),
            self._mantissa.eq(entry.mantissa - fall),
        ]

    def _normalize(self, m):
        """u = round_shift(z, p - 15) and the factor round_shift(s, p - 3); p is 16 or more, because exp(0) is in z.

        The factor's first shift, common to every p, keeps what it drops in one sticky bit.
        """
        m.d.comb += self._position.eq(EXP_FRAC)
        for k in range(EXP_FRAC, len(self._z)):
            with m.If(self._z[k]):
                m.d.comb += self._position.eq(k)
        top = len(self._z) - 1
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
