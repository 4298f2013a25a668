# SPDX-License-Identifier: Apache-2.0
"""The counters of multiplications done and skipped: golden_model/counters.py from the slot table, beside the operations."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.counters import MACS
from hw.arith.multiply import SerialMultiplier
from hw.rows.layouts import slot_layout
from hw.shapes import index
from hw.stream import Fifo

__all__ = ["Tally", "longest", "tally_layout"]

WORDS = 8  # of work: useful, zeros, heads, dense; each of a row and of a pair
DENSE = 6  # the first word of the last


class Kind(enum.Enum, shape=2):
    """Tokens that were worked on; that had left; of layers that did not run."""

    LIVE = 0
    DROPPED = 1
    EXITED = 2


def _pairs(config):
    """Shape of the pairs of tokens in all layers of all slots' sentences."""
    return index(config.slots * config.layers * config.positions**2 + 1)


def _job(config):
    """Tokens low .. high - 1 of a sentence, with the pairs that have one of them, in `layers` layers."""
    count = index(config.positions + 1)
    return data.StructLayout(
        {"kind": Kind, "low": count, "high": count, "layers": index(config.layers + 1)}
    )


def tally_layout(config):
    """Steps of the counters, by their names."""
    product = 32 + _pairs(config).width
    return data.StructLayout(
        {"tokens": index(config.positions + 1), **{name.lower(): product for name in MACS}}
    )


def longest(config):
    """Cycles that a pass costs at most: all slots leave, after their first layer."""
    return (5 * config.slots + 8) * (
        SerialMultiplier(32, _pairs(config).width).latency + 2
    ) + config.slots * config.layers


class Tally(wiring.Component):
    """Turns tokens into multiplications, one product at a time, and holds nothing up.

    When ATTEND begins it queues two jobs for each slot, live and dropped tokens; a verdict to exit queues one. A job costs one product for
    its pairs; jobs of one kind that follow each other are weighed together, six products for LIVE, else two. A product takes b / 2 + 3 cycles,
    b = 17 for `ci`, 21 for `edgebert`. So a pass of s slots costs 2 s + 8 products from ATTEND on, and each exit 3 with a cycle for each layer left.

    The queue has room for what one pass gives, 3 s, and is empty before the next one gives more, since no pass is shorter than `longest`: of a model
    with 16 features and one token in each slot it takes 1,674 cycles on `edgebert`, where `longest` is 768 (tests/test_counters.py).

    Members
    -------
    layers : of the model
    work_write_valid, work_write : {"address", "data"}: `golden_model.counters.layer_work`, as the image's memory WORK
    begin_valid, begin : pulse, {"slot", "count"}: a slot starts a sentence
    attend, mask : pulse, ATTEND begins for these slots
    slots : the slot table; counts are stable for 2 x slots cycles from `attend` on
    verdict_valid, verdict : pulse, {"slot", "layer"}: a slot's sentence ends with this layer (from 0)
    o : `tally_layout(config)`, steps of this cycle
    resting : everything has been counted
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "layers": In(8),
                "work_write_valid": In(1),
                "work_write": In(data.StructLayout({"address": range(WORDS), "data": 32})),
                "begin_valid": In(1),
                "begin": In(data.StructLayout({"slot": 8, "count": index(config.positions + 1)})),
                "attend": In(1),
                "mask": In(config.slots),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "verdict_valid": In(1),
                "verdict": In(data.StructLayout({"slot": 8, "layer": index(config.layers + 1)})),
                "o": Out(tally_layout(config)),
                "resting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.jobs = jobs = Fifo(_job(self.config), 3 * self.config.slots)
        m.submodules.multiplier = multiplier = SerialMultiplier(32, _pairs(self.config).width)
        m.submodules.work = work = Memory(shape=32, depth=WORDS, init=[])
        write = work.write_port()
        weight = work.read_port(domain="comb")
        job = jobs.o.payload
        count = jobs.o.payload.high - jobs.o.payload.low
        kind = Signal(Kind)
        rows = Signal(_pairs(self.config))
        pairs = Signal(_pairs(self.config))  # jobs of a kind together
        step = Signal(range(WORDS))
        layer = Signal(index(self.config.layers + 1))
        m.d.comb += [
            write.en.eq(self.work_write_valid),
            write.addr.eq(self.work_write.address),
            write.data.eq(self.work_write.data),
            weight.addr.eq(step),
        ]
        pending = self._queue(m, jobs.i)
        with m.FSM() as fsm:
            m.d.comb += self.resting.eq(
                fsm.ongoing("IDLE") & (rows == 0) & (jobs.level == 0) & (pending == 0)
            )
            with m.State("IDLE"):
                with m.If(jobs.o.valid & ((rows == 0) | (job.kind == kind))):
                    m.d.sync += [
                        kind.eq(job.kind),
                        layer.eq(job.layers),
                    ]
                    m.next = "SQUARE"
                with m.Elif(rows != 0):
                    m.d.sync += step.eq(Mux(kind == Kind.LIVE, 0, DENSE))
                    m.next = "WEIGH"
            with m.State("SQUARE"):  # high^2 - low^2
                with m.If(multiplier.multiply(m, job.high + job.low, count)):
                    m.next = "ADD"
            with m.State("ADD"):  # a layer each cycle
                m.d.comb += self.o.tokens.eq(Mux(kind == Kind.LIVE, count, 0))
                m.d.sync += [
                    rows.eq(rows + count),
                    pairs.eq(pairs + multiplier.product),
                    layer.eq(layer - 1),
                ]
                with m.If(layer == 1):
                    m.d.comb += jobs.o.ready.eq(1)
                    m.next = "IDLE"
            with m.State("WEIGH"):
                with m.If(multiplier.multiply(m, weight.data, Mux(step[0], pairs, rows))):
                    self._step(m, kind, step, multiplier.product)
                    m.d.sync += step.eq(step + 1)
                    with m.If(step == Mux(kind == Kind.LIVE, DENSE - 1, WORDS - 1)):
                        m.d.sync += [
                            rows.eq(0),
                            pairs.eq(0),
                        ]
                        m.next = "IDLE"
        return m

    def _step(self, m, kind, step, product):
        """A product to the counter that it belongs to: useful, zeros and heads of live tokens; tokens; exits."""
        o = self.o
        causes = [
            *((kind == Kind.LIVE) & (step[1:] == part) for part in range(DENSE // 2)),
            kind == Kind.DROPPED,
            kind == Kind.EXITED,
        ]
        m.d.comb += [
            o[name.lower()].eq(Mux(chosen, product, 0))
            for name, chosen in zip(MACS, causes, strict=True)
        ]

    def _queue(self, m, i):
        """Jobs of the pass, first all slots' live tokens, then all dropped ones; later its exits. Returns what of the pass is still to come."""
        slots = self.config.slots
        job = i.payload
        lengths = Array(
            Signal(self.begin.count.shape(), name=f"length_{slot}") for slot in range(slots)
        )
        pending = Signal(2 * slots)
        count = Signal(self.begin.count.shape())
        length = Signal(self.begin.count.shape())
        live = pending[:slots].any()
        with m.If(self.begin_valid):
            m.d.sync += lengths[self.begin.slot].eq(self.begin.count)
        with m.If(self.attend):
            m.d.sync += pending.eq(Cat(self.mask, self.mask))
        with m.Else():
            m.d.sync += pending.eq(pending & (pending - 1))
        for slot in reversed(range(slots)):  # the lowest one
            with m.If(Mux(live, pending[:slots], pending[slots:])[slot]):
                m.d.comb += [
                    count.eq(self.slots[slot].count),
                    length.eq(lengths[slot]),
                ]
        left = self.layers - 1 - self.verdict.layer
        with m.If(self.verdict_valid):
            m.d.comb += [
                i.valid.eq(left != 0),
                job.kind.eq(Kind.EXITED),
                job.high.eq(lengths[self.verdict.slot]),
                job.layers.eq(left),
            ]
        with m.Else():
            m.d.comb += [
                i.valid.eq(pending != 0),
                job.kind.eq(Mux(live, Kind.LIVE.value, Kind.DROPPED.value)),
                job.layers.eq(1),
                job.low.eq(Mux(live, 0, count)),
                job.high.eq(Mux(live, count, length)),
            ]
        return pending
