# SPDX-License-Identifier: Apache-2.0
"""Operating point requests: slack before the deadlines becomes lower voltage and frequency (golden_model/dvfs.py)."""

from amaranth import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.dvfs import BIN_SHIFT, BINS, FREQUENCIES, PERIOD_FRAC, periods
from hw.arith.multiply import SerialMultiplier
from hw.rows.layouts import slot_layout
from hw.shapes import THRESHOLD, index

__all__ = ["Dvfs", "dvfs_ports"]

CYCLES = unsigned(32)  # cycles of a pass; deadlines, in cycles of the highest point
TIME = signed(CYCLES.width + PERIOD_FRAC + 2)  # cycles of the highest point, differences wrap
LAYER = unsigned(8)
LENGTHS = periods()
HIGHEST = len(FREQUENCIES) - 1


def dvfs_ports():
    """The request port, a four-phase handshake: `code`, an index into FREQUENCIES, is stable while `request` is high."""
    return {
        "dvfs_code": Out(index(len(FREQUENCIES))),
        "dvfs_request": Out(1),
        "dvfs_acknowledge": In(1),
    }


class Dvfs(wiring.Component):
    """code = request(slots, layers, tiles, cycles of the last pass, its tiles) of golden_model/dvfs.py, at every `begin`.

    A slot's deadline runs from its `admit`, in cycles of the highest point; a cycle of this clock counts periods()[i] of them, i the
    point acknowledged last. A pass lasts from `begin` to `end`; its rows are those that were live at the first `through`.
    One serial multiplier: a decision takes about 2 tiles + 50 cycles for each slot and 16 for each point it climbs. A decision made during a
    handshake waits for its end. After reset the highest point is asked for and assumed.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    table_write_valid, table_write : {address, data}, predicted exit layer, counted from 1, by entropy bin
    admit_valid, admit : pulse, {slot, deadline}: a new sentence; deadline 0 is none
    verdict_valid, verdict : pulse, {slot, entropy}; the first one after `admit` predicts
    slots, total : of `Rows`; stable during a decision
    layers : In(8), of the model
    begin, through, end : pulses: a pass starts; its rows have been worked on, exits may remove some; it is over
    predicted : Out(8 bits for each slot), predicted exit layer, 0 while unknown
    dvfs_code, dvfs_request, dvfs_acknowledge : see `dvfs_ports`; in this clock domain
    """

    def __init__(self, config):
        self._config = config
        slots = config.slots
        super().__init__(
            {
                "table_write_valid": In(1),
                "table_write": In(data.StructLayout({"address": index(BINS), "data": LAYER})),
                "admit_valid": In(1),
                "admit": In(data.StructLayout({"slot": index(slots), "deadline": CYCLES})),
                "verdict_valid": In(1),
                "verdict": In(data.StructLayout({"slot": index(slots), "entropy": THRESHOLD})),
                "slots": In(data.ArrayLayout(slot_layout(config), slots)),
                "total": In(index(config.rows + 1)),
                "layers": In(LAYER),
                "begin": In(1),
                "through": In(1),
                "end": In(1),
                "predicted": Out(data.ArrayLayout(LAYER, slots)),
                **dvfs_ports(),
            }
        )
        tiles = index(config.tiles + 1)
        self._time = Signal(TIME)
        self._now = Signal(TIME)  # now, and at the decision
        self._deadlines = Signal(data.ArrayLayout(TIME, slots))
        self._limited = Signal(slots)  # limited: has a deadline
        self._cycles = Signal(CYCLES)
        self._rows = Signal.like(self.total)  # of the last pass
        self._tiles = Signal(tiles)
        self._pass_tiles = Signal(tiles)
        self._rest = Signal.like(self.total)
        self._number, self._any = (
            Signal(range(slots + 1)),
            Signal(),
        )  # slot in turn; one has a deadline
        self._best = Signal(index(len(FREQUENCIES)))  # lowest point for the slots so far
        self._target, self._current = (Signal(self._best.shape(), init=HIGHEST) for _ in range(2))
        self._scaled = Signal(CYCLES.width + tiles.width)  # cycles * tiles
        self._work, self._left = (
            Signal(self._scaled.shape().width + LAYER.width) for _ in range(2)
        )
        self._budget = Signal(len(self._left) + tiles.width)
        self._ahead = Signal(LAYER)
        self._multiplier = SerialMultiplier(
            len(self._work), max(tiles.width, LENGTHS[0].bit_length(), LAYER.width)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        self._admit(m)
        self._predict(m)
        self._measure(m)
        self._request(m)
        stale = Signal()
        with m.FSM():
            with m.State("Idle"):
                with m.If(stale):
                    m.d.sync += [
                        stale.eq(0),
                        self._now.eq(self._time),
                        self._number.eq(0),
                        self._any.eq(0),
                        self._best.eq(0),
                    ]
                    m.d.sync += [
                        self._rest.eq(self.total),
                        self._tiles.eq(0),
                        self._pass_tiles.eq(0),
                    ]
                    m.next = "Tiles"
            with m.State("Tiles"):  # rows / T, rounded up
                self._divide(m, self._tiles, "PassTiles")
            with m.State("PassTiles"):
                self._divide(m, self._pass_tiles, "Scale")
            with m.State("Scale"):
                with m.If(multiplier.multiply(m, self._cycles, self._tiles)):
                    m.d.sync += self._scaled.eq(multiplier.product)
                    m.next = "Slot"
            with m.State("Slot"):  # the next slot with a deadline
                self._slot(m)
            with m.State("Budget"):
                with m.If(multiplier.multiply(m, self._left, self._pass_tiles)):
                    m.d.sync += self._budget.eq(multiplier.product)
                    m.next = "Work"
            with m.State("Work"):
                with m.If(multiplier.multiply(m, self._scaled, self._ahead)):
                    m.d.sync += self._work.eq(multiplier.product)
                    m.next = "Compare"
            with m.State("Compare"):  # climb until the deadline is met
                with m.If(multiplier.multiply(m, self._work, Array(LENGTHS)[self._best])):
                    with m.If((multiplier.product > self._budget) & (self._best != HIGHEST)):
                        m.d.sync += self._best.eq(self._best + 1)
                    with m.Else():
                        m.d.sync += self._number.eq(self._number + 1)
                        m.next = "Slot"
            with m.State("Decide"):
                m.d.sync += self._target.eq(
                    Mux(self._any & (self._cycles != 0), self._best, HIGHEST)
                )
                m.next = "Idle"
        with m.If(self.begin):
            m.d.sync += stale.eq(1)
        return m

    def _divide(self, m, quotient, following):
        with m.If(self._rest == 0):
            m.d.sync += self._rest.eq(self._rows)
            m.next = following
        with m.Else():
            lanes = self._config.tokens
            m.d.sync += [
                self._rest.eq(Mux(self._rest > lanes, self._rest - lanes, 0)),
                quotient.eq(quotient + 1),
            ]

    def _slot(self, m):
        number = self._number
        slot = Array(self.slots)[self._number]
        predicted = Array(self.predicted)[number]
        left = Array(self._deadlines)[number] - self._now
        ahead = Mux(predicted == 0, self.layers, predicted) - slot.layer
        with m.If((number == self._config.slots) | (self._best == HIGHEST)):
            m.next = "Decide"
        with m.Elif(slot.resident & self._limited.bit_select(number, 1)):
            m.d.sync += [
                self._any.eq(1),
                self._left.eq(Mux(left[: TIME.width].as_signed() > 0, left[: TIME.width - 1], 0)),
                self._ahead.eq(Mux(ahead > 1, ahead, 1)),
            ]
            m.next = "Budget"
        with m.Else():
            m.d.sync += number.eq(number + 1)

    def _admit(self, m):
        admit = self.admit
        m.d.sync += self._time.eq(self._time + Array(LENGTHS)[self._current])
        for i, deadline in enumerate(self._deadlines):
            with m.If(self.admit_valid & (admit.slot == i)):
                m.d.sync += [
                    deadline.eq(self._time + (admit.deadline << PERIOD_FRAC)),
                    self._limited[i].eq(admit.deadline != 0),
                    self.predicted[i].eq(0),
                ]

    def _predict(self, m):
        m.submodules.table = table = Memory(shape=LAYER, depth=BINS, init=[])
        read = table.read_port()
        write = table.write_port()
        bin_number = self.verdict.entropy >> BIN_SHIFT
        valid = Signal()
        slot = Signal.like(self.verdict.slot)
        m.d.comb += [
            write.addr.eq(self.table_write.address),
            write.data.eq(self.table_write.data),
            write.en.eq(self.table_write_valid),
            read.addr.eq(Mux(bin_number > BINS - 1, BINS - 1, bin_number)),
        ]
        m.d.sync += [
            valid.eq(self.verdict_valid),
            slot.eq(self.verdict.slot),
        ]
        for i, predicted in enumerate(self.predicted):
            with m.If(valid & (slot == i) & (predicted == 0)):
                m.d.sync += predicted.eq(read.data)

    def _measure(self, m):
        """Cycles from `begin` to `end`, and the rows at the first `through` between them."""
        counter = Signal(CYCLES)
        rows = Signal.like(self.total)
        running = Signal()
        through = Signal()
        m.d.sync += counter.eq(counter + 1)
        with m.If(self.through & ~through):
            m.d.sync += [
                rows.eq(self.total),
                through.eq(1),
            ]
        with m.If(self.end & running & through):
            m.d.sync += [
                self._cycles.eq(counter),
                self._rows.eq(rows),
                running.eq(0),
            ]
        with m.If(self.begin):
            m.d.sync += [
                counter.eq(1),
                running.eq(1),
                through.eq(0),
            ]

    def _request(self, m):
        known = Signal()  # a request has been acknowledged since reset
        with m.If(self.dvfs_request & self.dvfs_acknowledge):
            m.d.sync += [
                self.dvfs_request.eq(0),
                self._current.eq(self.dvfs_code),
                known.eq(1),
            ]
        with m.Elif(
            ~self.dvfs_request & ~self.dvfs_acknowledge & (~known | (self._target != self._current))
        ):
            m.d.sync += [
                self.dvfs_request.eq(1),
                self.dvfs_code.eq(self._target),
            ]
