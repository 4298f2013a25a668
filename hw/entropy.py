# SPDX-License-Identifier: Apache-2.0
"""Entropy of the logits, exit decision and class (golden_model/entropy.py, golden_model/exit.py)."""

from amaranth import Array, C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import EXP_FRAC, EXP_IN_FRAC, LN_FRAC, THRESHOLD_BITS, THRESHOLD_FRAC
from golden_model.functions import LN2, ln_table, reciprocal_table
from hw.exponential import ALIGN, Exponential
from hw.fixed import round_shift
from hw.multiply import SerialMultiplier
from hw.rows import index
from hw.shapes import ACT

__all__ = ["THRESHOLD", "Entropy"]

THRESHOLD = unsigned(THRESHOLD_BITS)  # Q2.16 nats, the reported entropy too
POINT = 15             # z is normalised to u = 2^15 .. 2^16
GUARD = 3              # fraction bits of the factor s / 2^p
PRODUCT_FRAC = EXP_IN_FRAC + EXP_FRAC   # of d e
FRACTION = ln_table().fraction_bits     # low bits of u, between two table entries
ENTRY = data.StructLayout({"ln": 16, "ln_slope": 9, "mantissa": 17, "mantissa_slope": 9})


def _table():
    """Both tables side by side, because they have the same index. ENTRY keeps the magnitudes of the slopes."""
    return [{"ln": ln, "ln_slope": rise, "mantissa": mantissa, "mantissa_slope": -fall} for ln, rise, mantissa, fall in
            zip(ln_table().base, ln_table().slope, reciprocal_table().base, reciprocal_table().slope, strict=True)]


class Entropy(wiring.Component):
    """With d = max - x, e = exp(-d), z = sum e, s = sum d e:  entropy = ln z + s / z; exits = z (threshold - ln z) > s.

    `exits` is exact and strict (the same inequality as z ln z + s < threshold z); `entropy` is rounded and only reported.
    One serial multiplier does it all. Latency 18 cycles for each class and 47 more; the next logits are taken
    when the result has gone. Holds its output when stalled.

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
        super().__init__({
            "align": In(ALIGN),
            "threshold": In(THRESHOLD),
            "i": In(stream.Signature(data.StructLayout({"value": ACT, "last": 1}))),
            "o": Out(stream.Signature(data.StructLayout({"exits": 1, "entropy": THRESHOLD, "class": index(config.classes)}))),
        })
        top = config.classes << EXP_FRAC
        self._z = Signal(range(top + 1))
        self._s = Signal(range((top << EXP_IN_FRAC) + 1))  # d e <= 1 / e
        self._maximum, self._number = Signal(ACT), Signal(index(config.classes))
        self._position = Signal(range(len(self._z)))  # p, leading one of z
        self._u, self._factor = Signal(POINT + 2), Signal(POINT + 2)
        self._ln, self._mantissa = Signal(range(LN2 * 4 + 1)), Signal(POINT + 2)
        self._multiplier = SerialMultiplier(len(self._z), THRESHOLD_BITS)
        self._product = self._multiplier.product

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = self._multiplier
        m.submodules.logits = logits = Memory(shape=ACT, depth=self._config.classes, init=[])
        m.submodules.table = table = Memory(shape=ENTRY, depth=len(_table()), init=_table())
        m.submodules.exponential = exponential = Exponential()
        read, write, entry = logits.read_port(), logits.write_port(), table.read_port()
        self._normalise(m)
        m.d.comb += [
            read.addr.eq(self._number),
            write.addr.eq(self._number),
            write.data.eq(self.i.payload.value),
            entry.addr.eq((self._u - (1 << POINT)) >> FRACTION),
            exponential.align.eq(self.align),
            exponential.i.payload.value.eq(read.data),
            exponential.i.payload.maximum.eq(self._maximum),
        ]
        with m.FSM() as fsm:
            m.d.comb += entry.en.eq(fsm.ongoing("Look"))  # only then `_u` is in the table's range
            with m.State("Store"):     # keep the logits, find the largest
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid)]
                self._store(m)
            with m.State("Settle"):    # the read port follows `_number`, from the last logit to the first
                m.next = "Read"
            with m.State("Read"):
                m.d.comb += exponential.i.valid.eq(1)
                m.next = "Add"
            with m.State("Add"):       # its share of z and s
                self._add(m, exponential.o)
            with m.State("Normalise"):
                m.next = "Look"
            with m.State("Look"):
                m.next = "Ln"
            with m.State("Ln"):        # ln z = table + (p - 16) ln 2
                self._multiply(m, entry.data.ln_slope, self._u[:FRACTION], "Mantissa")
                power = Array(C(k * LN2, range(LN2 * 4 + 1)) for k in range(8))[self._position - EXP_FRAC]
                m.d.sync += self._ln.eq(entry.data.ln + self._between(m) + power)
            with m.State("Mantissa"):  # of 1 / z
                self._multiply(m, entry.data.mantissa_slope, self._u[:FRACTION], "Quotient")
                m.d.sync += self._mantissa.eq(entry.data.mantissa - self._between(m))
            with m.State("Quotient"):  # s / z
                self._multiply(m, self._factor, self._mantissa, "Decide")
                self._report(m)
            with m.State("Decide"):
                room = Mux(self.threshold > self._ln, self.threshold - self._ln, 0)
                self._multiply(m, self._z, room, "Give")
                m.d.sync += self.o.payload.exits.eq(self._product > (self._s << (EXP_FRAC + LN_FRAC - PRODUCT_FRAC)))
            with m.State("Give"):
                m.d.comb += self.o.valid.eq(1)
                m.d.sync += [self._number.eq(0), self._z.eq(0), self._s.eq(0)]
                with m.If(self.o.ready):
                    m.next = "Store"
        return m

    def _multiply(self, m, a, b, following):
        """a * b; `following` is the state after the one cycle in which `_product` is complete."""
        with m.If(self._multiplier.multiply(m, a, b)):
            m.next = following

    def _between(self, m):
        """Slope times the low bits of u."""
        return round_shift(m, self._product[:FRACTION + ENTRY["ln_slope"].width], FRACTION)

    def _store(self, m):
        value, number = self.i.payload.value, self._number
        with m.If(self.i.valid):
            with m.If((number == 0) | (value > self._maximum)):
                m.d.sync += [self._maximum.eq(value), self.o.payload["class"].eq(number)]
            with m.If(self.i.payload.last):
                m.next = "Settle"
            with m.Else():
                m.d.sync += number.eq(number + 1)

    def _add(self, m, o):
        multiplier = self._multiplier
        m.d.comb += [
            multiplier.a.eq(o.payload.exponential),
            multiplier.b.eq(o.payload.distance),
            multiplier.start.eq(o.valid & ~multiplier.done),
            o.ready.eq(multiplier.done),
        ]
        with m.If(multiplier.done):
            m.d.sync += [
                self._z.eq(self._z + o.payload.exponential),
                self._s.eq(self._s + self._product),
                self._number.eq(Mux(self._number == 0, 0, self._number - 1)),
            ]
            m.next = "Settle"
            with m.If(self._number == 0):
                m.next = "Normalise"

    def _normalise(self, m):
        """u = round_shift(z, p - 15) and the factor round_shift(s, p - 3); p is 16 or more, because exp(0) is in z.

        The factor's first shift, common to every p, keeps what it drops in one sticky bit.
        """
        m.d.comb += self._position.eq(EXP_FRAC)
        for k in range(EXP_FRAC, len(self._z)):
            with m.If(self._z[k]):
                m.d.comb += self._position.eq(k)
        top = len(self._z) - 1
        common = EXP_FRAC - GUARD - 2
        s = Cat(self._s[:common + 1].any(), self._s[common + 1:])
        m.d.sync += [
            self._u.eq(round_shift(m, self._z, self._position - POINT, high=top - POINT)),
            self._factor.eq(round_shift(m, s, self._position - GUARD - common, high=top - GUARD - common)),
        ]

    def _report(self, m):
        """ln z + s / z at the threshold's scale, clamped."""
        quotient = round_shift(m, self._product[:2 * len(self._factor)], PRODUCT_FRAC + GUARD - THRESHOLD_FRAC)
        entropy = self._ln + quotient
        m.d.sync += self.o.payload.entropy.eq(Mux(entropy >> THRESHOLD_BITS != 0, -1, entropy))
