# SPDX-License-Identifier: Apache-2.0
"""LayerNorm of T rows at once from exact sums, without division (golden_model/layernorm.py)."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import MANTISSA_FRAC, NORM_FRAC
from golden_model.layernorm import CENTRED_FRAC
from hw.arith.fixed import round_shift, saturate
from hw.arith.functions import Rsqrt
from hw.arith.requantize import count_saturated
from hw.shapes import ACT, FACTOR, FEATURE, MANTISSA, PARAMETER, SHIFT, tile_mask, tile_values
from hw.stream import Pipeline

__all__ = ["LayerNorm", "parameter_layout"]

SETS = 3  # embedding, attention, feed forward
SQUARED = 2  # registers between a word and its sums
STAGES = 2  # registers between the sums and the root's unit
SUMS = 4  # cycles from a block's last word to its first root
ROOTS = 9  # from there until the next block may come, and a cycle for each row
RESULTS = 20  # from there to the first result, likewise
REST = 2  # from a block's last result to the next one's first root


def parameter_layout():
    """One feature's parameters; address = set * max(hidden, embedding) + feature."""
    return data.StructLayout({"address": PARAMETER, "gamma": ACT, "beta": ACT})


def latency(config):
    """Cycles from a block's last word to its first result."""
    return SUMS + config.tokens + RESULTS


def cycles(config, length):
    """Of a block of `length` words behind another one: from end to end."""
    return REST + config.tokens + RESULTS + length - 1


class LayerNorm(wiring.Component):
    """y = (H x - sum x) / sqrt(N) * gamma + beta, N = H sum(x^2) - (sum x)^2; T rows at once.

    With the three bit drops of the golden model; N = 0 gives beta. `length` words are taken while
    the sums are made, then the roots of the rows one a cycle, then the results leave in order.
    Latency from the last word to the first result: see `latency`; one word a cycle in and out. The
    next block is taken while the results of the one before leave, so of several each takes
    `cycles`. With `bypass` the words leave as they came. Stalled: all words are held.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    length : In(range(max(hidden, embedding) + 1)), features H; stable while words are inside, as
        the next three
    set : In(range(3)), which parameters: embedding, attention, feed forward
    shift : In(SHIFT), gamma's product to ACT
    bypass : In(1)
    i : In(stream of {values: ACT x T, live: T bits}), `live` rows count as saturating
    o : Out(stream of {values: ACT x T, live: T bits, feature: FEATURE})
    param_write : In(stream of parameter_layout), always ready
    saturated : Out(range(3 T + 1)), live values that saturated, each of the three places once for
        each word
    """

    def __init__(self, config):
        self.config = config
        self._lanes = config.tokens
        self._most = config.widest
        word = {"values": tile_values(config), "live": tile_mask(config)}
        super().__init__(
            {
                "length": In(range(self._most + 1)),
                "set": In(range(SETS)),
                "shift": In(SHIFT),
                "bypass": In(1),
                "i": In(stream.Signature(data.StructLayout(word))),
                "o": Out(stream.Signature(data.StructLayout({**word, "feature": FEATURE}))),
                "param_write": In(stream.Signature(parameter_layout())),
                "saturated": Out(range(3 * self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._registers()
        # Two blocks of words: one is taken while the results of the other leave.
        m.submodules.words = words = Memory(
            shape=self.i.payload.values.shape(), depth=2 * self._most, init=[]
        )
        number = Signal(range(self._most + 1))  # words of the block that is taken
        given = Signal(range(self._most + 1))  # features of the block that leaves
        live = Signal(tile_mask(self.config))
        leaving = Signal(tile_mask(self.config))  # `live` of the block that leaves
        bank = Signal()  # that is filled; the results are those of the other one
        full = Signal()  # a block is complete
        squared = Signal(SQUARED)  # a word is in a register before the sums
        give = Signal()
        results = self._results(m, words, leaving, given, ~bank, give)
        taken = self.i.valid & self.i.ready
        write = words.write_port()
        m.d.comb += [
            write.addr.eq(Mux(bank, self._most, 0) + number),
            write.data.eq(self.i.payload.values),
            write.en.eq(taken),
            self.i.ready.eq(~full),
        ]
        self._sum(m, taken, squared)
        with m.If(taken):
            m.d.sync += [
                number.eq(number + 1),
                live.eq(self.i.payload.live),
                full.eq(number + 1 == self.length),
            ]
        with m.FSM():
            # Until a block is complete and the products of its last word are added.
            with m.State("SUM"):
                with m.If(full & ~squared.any()):
                    m.next = "ROOTS"
            # The rows' roots, one after another; then the next block may come.
            with m.State("ROOTS"):
                with m.If(self._root(m)):
                    m.d.sync += [
                        number.eq(0),
                        full.eq(0),
                        bank.eq(~bank),
                        given.eq(0),
                        leaving.eq(live),
                    ]
                    self._turn_over(m)
                    m.next = "GIVE"
            # Results leave, while the next block is taken.
            with m.State("GIVE"):
                m.d.comb += give.eq(given != self.length)
                with m.If(give & results.ready):
                    m.d.sync += given.eq(given + 1)
                with m.If(
                    self.o.valid & self.o.ready & (self.o.payload.feature + 1 == self.length)
                ):
                    m.next = "SUM"
        return m

    def _registers(self):
        """What is kept of each row: sums of the block that is taken, centre and root of the other.

        The sums are exact: `bits` more than a square or a value has, for the longest row.
        """
        lanes = range(self._lanes)
        # Exact sums, in place of a mean and of differences from it: one pass over the words does,
        # and no bit is dropped before N.
        bits = (self._most - 1).bit_length()
        total = signed(ACT.width + bits)
        squares = unsigned(2 * ACT.width - 1 + bits)
        self._rsqrt = Rsqrt(2 * (ACT.width + bits))
        self._totals = [Signal(total, name=f"total_{n}") for n in lanes]
        self._squares = [Signal(squares, name=f"squares_{n}") for n in lanes]
        self._centres = [Signal(total, name=f"centre_{n}") for n in lanes]
        self._roots = [Signal(MANTISSA, name=f"root_{n}") for n in lanes]
        self._halves = [Signal(range(ACT.width + bits), name=f"half_{n}") for n in lanes]

    def _turn_over(self, m):
        """The sums become the centres of the block that leaves, and start again."""
        m.d.sync += [
            centre.eq(total) for centre, total in zip(self._centres, self._totals, strict=True)
        ]
        m.d.sync += [total.eq(0) for total in (*self._totals, *self._squares)]

    def _sum(self, m, taken, squared):
        """Both sums of every row."""
        # Words and products have registers of their own: a word comes late in its cycle, and a
        # multiplier takes half of one.
        m.d.sync += squared.eq(Cat(taken, squared))
        for n, x in enumerate(self.i.payload.values):
            product = Signal(unsigned(2 * ACT.width - 1), name=f"square_{n}")
            word = Signal(ACT, name=f"word_{n}")
            value = Signal(ACT, name=f"value_{n}")
            m.d.sync += [
                word.eq(x),
                product.eq(word * word),
                value.eq(word),
            ]
            with m.If(squared[-1]):
                m.d.sync += [
                    self._squares[n].eq(self._squares[n] + product),
                    self._totals[n].eq(self._totals[n] + value),
                ]

    def _root(self, m):
        """Row after row to 1/sqrt(N); returns whether the last root arrives."""
        # One unit for all rows: the sums turn once around past it, and the roots shift in behind it
        # in the same order: a row costs a cycle, where T units would stand still most of the time.
        m.submodules.rsqrt = rsqrt = self._rsqrt
        left = Signal(range(self._lanes + 1), init=self._lanes)
        gone = Signal(range(self._lanes + 1))
        scaled = Signal(len(rsqrt.i.payload.z))
        squared = Signal(len(rsqrt.i.payload.z))
        difference = Signal(STAGES)  # a row is in each stage before the unit
        send = left != 0
        m.d.sync += [
            scaled.eq(self._squares[0] * self.length),
            squared.eq(self._totals[0] * self._totals[0]),
            difference.eq(Cat(send, difference[0])),
        ]
        n = Signal.like(scaled)
        m.d.sync += n.eq(scaled - squared)
        with m.If(send):
            m.d.sync += left.eq(left - 1)
            for sums in (self._totals, self._squares):
                m.d.sync += [
                    here.eq(after) for here, after in zip(sums, (*sums[1:], sums[0]), strict=True)
                ]
        m.d.comb += [
            rsqrt.i.valid.eq(difference[1]),
            rsqrt.i.payload.z.eq(n),
            rsqrt.o.ready.eq(1),
        ]
        with m.If(rsqrt.o.valid):
            m.d.sync += gone.eq(gone + 1)
            for values, new in (
                (self._roots, rsqrt.o.payload.mantissa),
                # Without a shift for those that go through as they are.
                (self._halves, Mux(self.bypass, CENTRED_FRAC, rsqrt.o.payload.position)),
            ):
                m.d.sync += [
                    here.eq(after) for here, after in zip(values, (*values[1:], new), strict=True)
                ]
        complete = rsqrt.o.valid & (gone == self._lanes - 1)
        with m.If(complete):
            m.d.sync += [
                left.eq(self._lanes),
                gone.eq(0),
            ]
        return complete

    def _results(self, m, words, live, number, bank, give):
        """The second pass, over the words of `bank`; returns the stream of numbers it takes."""
        features = stream.Signature(FEATURE).create()
        m.d.comb += [
            features.valid.eq(give),
            features.payload.eq(number),
        ]
        pipeline = Pipeline(m, features, self.o)
        row = words.read_port()
        m.d.comb += [
            row.addr.eq(Mux(bank, self._most, 0) + number),
            row.en.eq(pipeline.accepted),
        ]
        parameter = self._parameters(m, number, pipeline.accepted)
        # The memories' own registers, and one behind: a block RAM's data comes late in the cycle.
        word = pipeline.stage(feature=features.payload)
        word = pipeline.stage(
            x=[row.data[n] for n in range(self._lanes)],
            gamma=parameter.gamma,
            beta=parameter.beta,
            feature=word.feature,
        )
        word = self._normalize(m, pipeline, word, live)
        pipeline.output(
            *(self.o.payload.values[n].eq(word.y[n]) for n in range(self._lanes)),
            self.o.payload.live.eq(live),
            self.o.payload.feature.eq(word.feature),
        )
        return features

    def _parameters(self, m, number, enable):
        """Gamma and beta of feature `number`, a cycle later; new ones are written at any time."""
        # The parameters of all sets stay on the chip: every layer and sentence has the same.
        m.submodules.parameters = parameters = Memory(
            shape=data.StructLayout({"gamma": ACT, "beta": ACT}), depth=SETS * self._most, init=[]
        )
        new = self.param_write.payload
        write = parameters.write_port()
        read = parameters.read_port()
        m.d.comb += [
            self.param_write.ready.eq(1),
            write.addr.eq(Mux(self.param_write.valid, new.address, 0)),
            write.data.gamma.eq(new.gamma),
            write.data.beta.eq(new.beta),
            write.en.eq(self.param_write.valid),
            read.addr.eq(self.set * self._most + number),
            read.en.eq(enable),
        ]
        return read.data

    def _normalize(self, m, pipeline, word, live):
        """x to y: centred, times the root, times gamma, plus beta; each drops bits once.

        With `bypass` an ACT goes through as it is: it fits wherever a clamped value does.
        """
        lanes = range(self._lanes)
        bypass = self.bypass
        lost = []
        keep = ("gamma", "beta", "feature")
        word = pipeline.stage(
            y=[Mux(bypass, word.x[n], word.x[n] * self.length - self._centres[n]) for n in lanes],
            **word.keep(*keep),
        )
        # The centred value is brought near 1, by half the place of N's leading one, before it is
        # multiplied: 18 bits then hold what matters of it.
        low = -CENTRED_FRAC
        factors = [round_shift(m, word.y[n], self._halves[n], low) for n in lanes]
        word = pipeline.stage(y=factors, **word.keep(*keep))
        word = self._clamped(m, pipeline, word, word.y, FACTOR.width, live, lost, keep)
        word = pipeline.stage(
            y=[Mux(bypass, word.y[n], word.y[n] * self._roots[n]) for n in lanes],
            **word.keep(*keep),
        )
        point = MANTISSA_FRAC + CENTRED_FRAC - NORM_FRAC
        normal = [round_shift(m, word.y[n], point) for n in lanes]
        word = pipeline.stage(
            y=[Mux(bypass, word.y[n], normal[n]).as_signed() for n in lanes], **word.keep(*keep)
        )
        word = self._clamped(m, pipeline, word, word.y, FACTOR.width, live, lost, keep)
        word = pipeline.stage(
            y=[Mux(bypass, word.y[n], word.y[n] * word.gamma) for n in lanes],
            beta=Mux(bypass, 0, word.beta).as_signed(),
            feature=word.feature,
        )
        # A register, which is there long before the first word.
        shift = Signal(SHIFT)
        m.d.sync += shift.eq(Mux(bypass, 0, self.shift))
        results = [round_shift(m, word.y[n], shift) for n in lanes]
        word = pipeline.stage(y=results, **word.keep("beta", "feature"))
        sums = [word.y[n] + word.beta for n in lanes]
        word = self._clamped(m, pipeline, word, sums, ACT.width, live, lost, ("feature",))
        m.d.comb += self.saturated.eq(sum(lost))
        return word

    def _clamped(self, m, pipeline, word, values, bits, live, lost, keep):
        """A stage of values clamped to `bits`, which are counted."""
        clamped = [saturate(m, value, bits) for value in values]
        counted = Signal(range(self._lanes + 1), name=f"lost_{len(lost)}")
        count_saturated(m, pipeline, [flag for _, flag in clamped], live, counted)
        lost.append(counted)
        return pipeline.stage(y=[value for value, _ in clamped], **word.keep(*keep))
