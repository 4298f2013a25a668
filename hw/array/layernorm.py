# SPDX-License-Identifier: Apache-2.0
"""LayerNorm of T rows at once from exact sums, without division (golden_model/layernorm.py)."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.formats import FACTOR_BITS, MANTISSA_FRAC, NORM_FRAC
from golden_model.layernorm import CENTRED_FRAC
from hw.arith.fixed import round_shift, saturate
from hw.arith.functions import MANTISSA, Rsqrt
from hw.arith.requantize import count_saturated
from hw.shapes import ACT
from hw.stream import Pipeline

__all__ = ["LayerNorm", "parameter_layout"]

SETS = 3  # embedding, attention, feed forward
SUMS = 3  # cycles from a block's last word to its first root
ROOTS = 8  # from there until the next block may come, and a cycle for each row
RESULTS = 16  # from there to the first result, likewise
REST = 2  # from a block's last result to the next one's first root


def parameter_layout():
    """One feature's parameters; address = set * max(hidden, embedding) + feature."""
    return data.StructLayout({"address": 16, "gamma": ACT, "beta": ACT})


def latency(config):
    """Cycles from a block's last word to its first result."""
    return SUMS + config.tokens + RESULTS


def cycles(config, length):
    """Of a block of `length` words behind another one: from end to end."""
    return REST + config.tokens + RESULTS + length - 1


class LayerNorm(wiring.Component):
    """N = H sum(x^2) - (sum x)^2; y = (H x - sum x) / sqrt(N) * gamma + beta, with the three bit drops of the golden model; N = 0 gives beta.

    `length` words of T rows are taken while the sums are made, then the roots of the rows one a cycle, then the results leave in order. Latency
    from the last word to the first result: `latency`; one word a cycle in and out. The next block is taken while the results of the one before
    leave, so of several each takes `cycles`. With `bypass` the words leave as they came. Stalled: holds all words.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    length : In, features H; set : In, which parameters; shift : In, gamma's product to ACT; bypass : In; all stable while words are inside
    i : In(stream of {values: ACT x T, live: T bits, which rows count as saturating})
    o : Out(stream of {values: ACT x T, live, feature})
    param_write : In(stream of parameter_layout), always ready
    saturated : Out, live values that saturated, each of the three places once for each word
    """

    def __init__(self, config):
        self.config = config
        self._lanes = config.tokens
        self._most = max(config.hidden, config.embedding)
        word = {"values": data.ArrayLayout(ACT, self._lanes), "live": self._lanes}
        super().__init__(
            {
                "length": In(range(self._most + 1)),
                "set": In(range(SETS)),
                "shift": In(unsigned(6)),
                "bypass": In(1),
                "i": In(stream.Signature(data.StructLayout(word))),
                "o": Out(stream.Signature(data.StructLayout({**word, "feature": 16}))),
                "param_write": In(stream.Signature(parameter_layout())),
                "saturated": Out(range(3 * self._lanes + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = range(self._lanes)
        bits = (self._most - 1).bit_length()
        self._totals = [Signal(signed(ACT.width + bits), name=f"total_{n}") for n in lanes]
        self._squares = [
            Signal(unsigned(2 * ACT.width - 1 + bits), name=f"squares_{n}") for n in lanes
        ]
        self._roots = [Signal(MANTISSA, name=f"root_{n}") for n in lanes]
        m.submodules.rsqrt = rsqrt = Rsqrt(2 * (ACT.width + bits))
        self._halves = [Signal(range(ACT.width + bits), name=f"half_{n}") for n in lanes]
        self._centres = [
            Signal.like(total, name=f"centre_{n}") for n, total in enumerate(self._totals)
        ]  # totals of the block that leaves
        m.submodules.words = words = Memory(
            shape=self.i.payload.values.shape(), depth=2 * self._most, init=[]
        )
        number = Signal(range(self._most + 1))
        live = Signal(self._lanes)
        bank = Signal()
        full = Signal()
        squared = Signal()
        give = Signal()
        given = Signal(range(self._most + 1))
        leaving = Signal(self._lanes)
        results = self._results(m, words, leaving, given, ~bank, give)
        taken = self.i.valid & self.i.ready
        write = words.write_port()
        m.d.comb += [
            write.addr.eq(Mux(bank, self._most, 0) + number),
            write.data.eq(self.i.payload.values),
            write.en.eq(taken),
            self.param_write.ready.eq(1),
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
            with m.State("SUM"):  # until a block is complete, the products of its last word added
                with m.If(full & ~squared):
                    m.next = "ROOTS"
            with m.State("ROOTS"):
                with m.If(self._root(m, rsqrt)):
                    m.d.sync += [
                        number.eq(0),
                        full.eq(0),
                        bank.eq(~bank),
                        given.eq(0),
                        leaving.eq(live),
                    ]
                    m.d.sync += [
                        centre.eq(total)
                        for centre, total in zip(self._centres, self._totals, strict=True)
                    ]
                    m.d.sync += [total.eq(0) for total in (*self._totals, *self._squares)]
                    m.next = "GIVE"
            with m.State("GIVE"):  # while the next block is taken
                m.d.comb += give.eq(given != self.length)
                with m.If(give & results.ready):
                    m.d.sync += given.eq(given + 1)
                with m.If(
                    self.o.valid & self.o.ready & (self.o.payload.feature + 1 == self.length)
                ):
                    m.next = "SUM"
        return m

    def _sum(self, m, taken, squared):
        """Both sums of every row, the products registered."""
        m.d.sync += squared.eq(taken)
        for n, x in enumerate(self.i.payload.values):
            product = Signal(unsigned(2 * ACT.width - 1), name=f"square_{n}")
            value = Signal(ACT, name=f"value_{n}")
            m.d.sync += [
                product.eq(x * x),
                value.eq(x),
            ]
            with m.If(squared):
                m.d.sync += [
                    self._squares[n].eq(self._squares[n] + product),
                    self._totals[n].eq(self._totals[n] + value),
                ]

    def _root(self, m, rsqrt):
        """Row after row to 1/sqrt(N): the sums turn once around; returns whether the last root arrives."""
        left = Signal(range(self._lanes + 1), init=self._lanes)
        gone = Signal(range(self._lanes + 1))
        scaled = Signal(len(rsqrt.i.payload.z))
        squared = Signal(len(rsqrt.i.payload.z))
        difference = Signal(2)
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
                (self._halves, rsqrt.o.payload.position),
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
        """The second pass, over the words of `bank`; returns the stream of feature numbers that it takes."""
        lanes = range(self._lanes)
        bypass = self.bypass
        m.submodules.parameters = parameters = Memory(
            shape=data.StructLayout({"gamma": ACT, "beta": ACT}), depth=SETS * self._most, init=[]
        )
        new = self.param_write.payload
        write = parameters.write_port()
        m.d.comb += [
            write.addr.eq(Mux(self.param_write.valid, new.address, 0)),
            write.data.gamma.eq(new.gamma),
            write.data.beta.eq(new.beta),
            write.en.eq(self.param_write.valid),
        ]
        features = stream.Signature(16).create()
        m.d.comb += [
            features.valid.eq(give),
            features.payload.eq(number),
        ]
        pipeline = Pipeline(m, features, self.o)
        row = words.read_port()
        parameter = parameters.read_port()
        m.d.comb += [
            row.addr.eq(Mux(bank, self._most, 0) + number),
            parameter.addr.eq(self.set * self._most + number),
            row.en.eq(pipeline.accepted),
            parameter.en.eq(pipeline.accepted),
        ]
        word = pipeline.stage(feature=features.payload)  # the memories' registers
        word = pipeline.stage(
            x=[row.data[n] for n in lanes],
            gamma=parameter.data.gamma,
            beta=parameter.data.beta,
            feature=word.feature,
        )
        keep = ("gamma", "beta", "feature")
        word = pipeline.stage(
            y=[Mux(bypass, word.x[n], word.x[n] * self.length - self._centres[n]) for n in lanes],
            **word.keep(*keep),
        )
        lost = []
        low = -CENTRED_FRAC
        high = len(self._totals[0]) - CENTRED_FRAC
        factors = [
            saturate(
                m, round_shift(m, word.y[n], self._halves[n] - CENTRED_FRAC, low, high), FACTOR_BITS
            )
            for n in lanes
        ]
        word = self._next(m, pipeline, word, factors, live, lost, keep)
        word = pipeline.stage(
            y=[Mux(bypass, word.y[n], word.y[n] * self._roots[n]) for n in lanes],
            **word.keep(*keep),
        )
        normal = [
            saturate(
                m, round_shift(m, word.y[n], MANTISSA_FRAC + CENTRED_FRAC - NORM_FRAC), FACTOR_BITS
            )
            for n in lanes
        ]
        word = self._next(m, pipeline, word, normal, live, lost, keep)
        word = pipeline.stage(
            y=[Mux(bypass, word.y[n], word.y[n] * word.gamma) for n in lanes],
            **word.keep("beta", "feature"),
        )
        results = [
            saturate(m, round_shift(m, word.y[n], self.shift) + word.beta, ACT.width) for n in lanes
        ]
        word = self._next(m, pipeline, word, results, live, lost, ("feature",))
        m.d.comb += self.saturated.eq(sum(lost))
        pipeline.output(
            *(self.o.payload.values[n].eq(word.y[n]) for n in lanes),
            self.o.payload.live.eq(live),
            self.o.payload.feature.eq(word.feature),
        )
        return features

    def _next(self, m, pipeline, word, clamped, live, lost, keep):
        """A stage that drops bits: its saturations are counted; with `bypass` the value stays."""
        counted = Signal(range(self._lanes + 1), name=f"lost_{len(lost)}")
        count_saturated(m, pipeline, [flag & ~self.bypass for _, flag in clamped], live, counted)
        lost.append(counted)
        # What bypasses is an ACT, so it fits where the clamped value does: the next multiplier stays narrow.
        return pipeline.stage(
            y=[
                Mux(self.bypass, word.y[n][: len(value)].as_signed(), value)
                for n, (value, _) in enumerate(clamped)
            ],
            **word.keep(*keep),
        )
