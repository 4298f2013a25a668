# SPDX-License-Identifier: Apache-2.0
"""The counters of multiplications done and skipped (golden_model/counters.py), by the machine."""

from amaranth import Array, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from firmware.constants import WORK_WORDS
from golden_model.counters import MACS
from hw.arith.multiply import SerialMultiplier
from hw.rows.layouts import slot_layout
from hw.rows.slot_walk import SlotWalk
from hw.shapes import LAYER, SLOT, WORD, index, slot_mask
from hw.stream import Fifo

__all__ = ["Tally", "longest", "tally_layout"]

DENSE = 6  # the first word of the last


class Fate(enum.Enum, shape=2):
    """What became of tokens in a layer."""

    LIVE = 0  # they were worked on
    DROPPED = 1  # they had left
    EXITED = 2  # the layer did not run for their sentence


def _pairs(config):
    """Shape of the pairs of tokens in all layers of all slots' sentences."""
    return index(config.slots * config.layers * config.positions**2 + 1)


def _job(config):
    """Tokens low .. high - 1 of a sentence and the pairs that have one of them, in `layers` layers.

    The pairs are high^2 - low^2: what the whole sentence would have, less what stays of it.
    """
    count = index(config.positions + 1)
    return data.StructLayout(
        {"fate": Fate, "low": count, "high": count, "layers": index(config.layers + 1)}
    )


def tally_layout(config):
    """Steps of the counters, by their names."""
    product = WORD.width + _pairs(config).width
    return data.StructLayout(
        {"tokens": index(config.positions + 1), **{name.lower(): product for name in MACS}}
    )


def longest(config):
    """Cycles that a pass costs at most: all slots leave, after their first layer."""
    return (5 * config.slots + 8) * (
        SerialMultiplier(WORD.width, _pairs(config).width).latency + 2
    ) + config.slots * config.layers


class Tally(wiring.Component):
    """Turns tokens into multiplications, one product at a time, beside the operations.

    When ATTEND begins it queues two jobs for each slot, live and dropped tokens; a verdict to exit
    queues one. A job costs one product for its pairs; jobs of one fate that follow each other are
    weighed together, six products for LIVE, else two. A product takes b / 2 + 3 cycles, b = 17 for
    `ci`, 21 for `edgebert`. So a pass of s slots costs 2 s + 8 products from ATTEND on, and each
    exit 3 with a cycle for each layer left. Nothing stalls it, and it holds nothing up.

    The queue has room for what one pass gives, 3 s, and is empty before the next one gives more,
    since no pass is shorter than `longest`: of a model with 16 features and one token in each slot
    it takes 1,674 cycles on `edgebert`, where `longest` is 768 (tests/test_counters.py).

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    layers : In(LAYER), of the model
    work_write_valid : In(1), pulse
    work_write : In({address, data: WORD}), `golden_model.counters.layer_work` word by word, as the
        image's memory WORK
    begin_valid : In(1), pulse: a slot starts a sentence
    begin : In({slot: SLOT, count}), `count` tokens
    attend : In(1), pulse: ATTEND begins
    mask : In(slot_mask), the slots that it works on
    slots : In(array of slot_layout); table and mask are stable from `attend` on for 2 cycles for
        each slot of the mask
    verdict_valid : In(1), pulse: a slot's sentence ends
    verdict : In({slot: SLOT, layer}), with this layer, from 0
    o : Out(tally_layout), steps of this cycle
    resting : Out(1), everything has been counted
    """

    def __init__(self, config):
        self.config = config
        count = index(config.positions + 1)
        layer = index(config.layers + 1)
        super().__init__(
            {
                "layers": In(LAYER),
                "work_write_valid": In(1),
                "work_write": In(data.StructLayout({"address": range(WORK_WORDS), "data": WORD})),
                "begin_valid": In(1),
                "begin": In(data.StructLayout({"slot": SLOT, "count": count})),
                "attend": In(1),
                "mask": In(slot_mask(config)),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "verdict_valid": In(1),
                "verdict": In(data.StructLayout({"slot": SLOT, "layer": layer})),
                "o": Out(tally_layout(config)),
                "resting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pairs_shape = _pairs(self.config)
        m.submodules.jobs = jobs = Fifo(_job(self.config), 3 * self.config.slots)
        # One serial multiplier, no DSP: a pass is long, and nobody waits for the counters.
        m.submodules.multiplier = multiplier = SerialMultiplier(WORD.width, pairs_shape.width)
        job = jobs.o.payload
        count = job.high - job.low
        fate = Signal(Fate)
        rows = Signal(pairs_shape)  # tokens of the jobs of a fate together
        pairs = Signal(pairs_shape)  # likewise
        step = Signal(range(WORK_WORDS))
        layer = Signal(index(self.config.layers + 1))
        weight = self._work(m, step)
        coming = self._queue(m, jobs.i)
        with m.FSM() as fsm:
            m.d.comb += self.resting.eq(
                fsm.ongoing("IDLE") & (rows == 0) & (jobs.level == 0) & ~coming
            )
            # A job of the same fate is added; before one of another fate what is there is weighed.
            with m.State("IDLE"):
                with m.If(jobs.o.valid & ((rows == 0) | (job.fate == fate))):
                    m.d.sync += [
                        fate.eq(job.fate),
                        layer.eq(job.layers),
                    ]
                    m.next = "SQUARE"
                with m.Elif(rows != 0):
                    m.d.sync += step.eq(Mux(fate == Fate.LIVE, 0, DENSE))
                    m.next = "WEIGH"
            # The pairs of a layer: high^2 - low^2 as one product of their sum and difference.
            with m.State("SQUARE"):
                with m.If(multiplier.multiply(m, job.high + job.low, count)):
                    m.next = "ADD"
            # They are added for each layer, a layer a cycle.
            with m.State("ADD"):
                # Tokens after DROP; a job of live tokens is one layer's, so they count once.
                m.d.comb += self.o.tokens.eq(Mux(fate == Fate.LIVE, count, 0))
                m.d.sync += [
                    rows.eq(rows + count),
                    pairs.eq(pairs + multiplier.product),
                    layer.eq(layer - 1),
                ]
                with m.If(layer == 1):
                    m.d.comb += jobs.o.ready.eq(1)
                    m.next = "IDLE"
            # Each word of work times the rows or the pairs, to its counter.
            with m.State("WEIGH"):
                with m.If(multiplier.multiply(m, weight, Mux(step[0], pairs, rows))):
                    self._step(m, fate, step, multiplier.product)
                    m.d.sync += step.eq(step + 1)
                    with m.If(step == Mux(fate == Fate.LIVE, DENSE - 1, WORK_WORDS - 1)):
                        m.d.sync += [
                            rows.eq(0),
                            pairs.eq(0),
                        ]
                        m.next = "IDLE"
        return m

    def _work(self, m, step):
        """The memory of a layer's work; returns its word `step`."""
        m.submodules.work = work = Memory(shape=WORD, depth=WORK_WORDS, init=[])
        write = work.write_port()
        weight = work.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.work_write_valid),
            write.addr.eq(self.work_write.address),
            write.data.eq(self.work_write.data),
            weight.addr.eq(step),
        ]
        return weight.data

    def _step(self, m, fate, step, product):
        """A product to its counter: useful, zeros and heads of live tokens; tokens; exits."""
        o = self.o
        chosen = [
            *((fate == Fate.LIVE) & (step[1:] == part) for part in range(DENSE // 2)),
            fate == Fate.DROPPED,
            fate == Fate.EXITED,
        ]
        m.d.comb += [
            o[name.lower()].eq(Mux(this, product, 0))
            for name, this in zip(MACS, chosen, strict=True)
        ]

    def _queue(self, m, i):
        """Jobs of the pass, later its exits. Returns whether jobs of the pass are still to come."""
        job = i.payload
        m.submodules.walk = walk = SlotWalk(self.config)
        # The table tells what is left of a sentence; how long it was is kept here.
        lengths = Array(
            Signal(self.begin.count.shape(), name=f"length_{slot}")
            for slot in range(self.config.slots)
        )
        with m.If(self.begin_valid):
            m.d.sync += lengths[self.begin.slot].eq(self.begin.count)
        # The slots are walked twice, so that the jobs of one fate follow each other: all live
        # tokens, then all dropped ones.
        dropped = Signal()  # the second time
        number = walk.o.payload.number
        count = walk.o.payload.count
        again = walk.o.valid & walk.o.ready & walk.o.payload.last & ~dropped
        m.d.comb += [
            walk.start.eq(self.attend | again),
            walk.mask.eq(self.mask),
            walk.slots.eq(self.slots),
            walk.o.ready.eq(~self.verdict_valid),
        ]
        with m.If(self.attend):
            m.d.sync += dropped.eq(0)
        with m.Elif(again):
            m.d.sync += dropped.eq(1)
        # In the layers that are left all of its tokens would have been worked on.
        left = self.layers - 1 - self.verdict.layer
        with m.If(self.verdict_valid):
            m.d.comb += [
                i.valid.eq(left != 0),
                job.fate.eq(Fate.EXITED),
                job.high.eq(lengths[self.verdict.slot]),
                job.layers.eq(left),
            ]
        with m.Else():
            m.d.comb += [
                i.valid.eq(walk.o.valid),
                job.fate.eq(Mux(dropped, Fate.DROPPED.value, Fate.LIVE.value)),
                job.layers.eq(1),
                job.low.eq(Mux(dropped, count, 0)),
                job.high.eq(Mux(dropped, lengths[number], count)),
            ]
        return walk.o.valid
