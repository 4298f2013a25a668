# SPDX-License-Identifier: Apache-2.0
"""Operating points: slack before the deadlines becomes lower voltage and frequency.

The rule is golden_model/dvfs.py.
"""

from amaranth import Array, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.dvfs import BIN_SHIFT, BINS, FREQUENCIES, PERIOD_FRAC, periods
from hw.arith.multiply import SerialMultiplier
from hw.rows.layouts import slot_layout
from hw.shapes import CYCLES, LAYER, THRESHOLD, index

__all__ = ["Dvfs", "dvfs_ports"]

# Cycles of the highest point, PERIOD_FRAC fraction bits. It wraps, so only differences count.
TIME = signed(CYCLES.width + PERIOD_FRAC + 2)
POINT = index(len(FREQUENCIES))  # an operating point
LENGTHS = periods()
HIGHEST = len(FREQUENCIES) - 1


def dvfs_ports():
    """The request, a four-phase handshake: `dvfs_code` is stable while `dvfs_request` is high.

    dvfs_code : an index into FREQUENCIES
    """
    return {
        "dvfs_code": Out(POINT),
        "dvfs_request": Out(1),
        "dvfs_acknowledge": In(1),
    }


class Dvfs(wiring.Component):
    """code = `request` of golden_model/dvfs.py, at every `begin`.

    Its arguments are the slots, the layers, the tiles of this pass, and the cycles and tiles of the
    last one. A slot's deadline runs from its `admit`; a cycle of this clock counts periods()[i] of
    the highest point's, i the point acknowledged last. A pass lasts from `begin` to `end`; its rows
    are those that were live at the first `through`. After reset the highest point is asked for and
    assumed.

    Latency: a decision takes about 2 tiles + 50 cycles for each slot and 16 for each point that it
    climbs. Throughput: one decision at a time; a `begin` meanwhile leads to another one. Stalled: a
    decision made during a handshake waits for its end.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    table_write_valid : In(1)
    table_write : In({address, data: LAYER}), predicted exit layer, from 1, by entropy bin
    admit_valid : In(1), pulse: a new sentence
    admit : In({slot, deadline: CYCLES}), 0 is none
    verdict_valid : In(1), pulse; the first one after `admit` predicts
    verdict : In({slot, entropy: THRESHOLD})
    slots : In(array of slot_layout), of `Rows`; stable during a decision
    total : In, of `Rows`; stable during a decision
    layers : In(LAYER), of the model
    begin : In(1), pulse: a pass starts
    through : In(1), pulse: its rows have been worked on, exits may remove some
    end : In(1), pulse: it is over
    predicted : Out(LAYER for each slot), predicted exit layer, 0 while unknown
    dvfs_code, dvfs_request, dvfs_acknowledge : as `dvfs_ports`, in this clock domain
    """

    def __init__(self, config):
        self.config = config
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
        self._deadlines = Signal(data.ArrayLayout(TIME, slots))
        self._limited = Signal(slots)  # has a deadline
        self._cycles = Signal(CYCLES)  # of the last pass
        self._rows = Signal.like(self.total)  # of the last pass
        self._target = Signal(POINT, init=HIGHEST)  # decided
        self._current = Signal(POINT, init=HIGHEST)  # acknowledged
        # Of a decision.
        self._now = Signal(TIME)
        self._rest = Signal.like(self.total)  # of rows that are made tiles
        self._tiles = Signal(tiles)
        self._pass_tiles = Signal(tiles)  # of the last pass
        self._scaled = Signal(CYCLES.width + tiles.width)  # cycles * tiles
        self._number = Signal(range(slots + 1))  # slot in turn
        self._any = Signal()  # one has a deadline
        self._best = Signal(POINT)  # lowest point for the slots so far
        self._ahead = Signal(LAYER)  # layers that the slot needs
        self._work = Signal(len(self._scaled) + LAYER.width)
        self._left = Signal(len(self._scaled) + LAYER.width)  # time
        self._budget = Signal(len(self._left) + tiles.width)
        # One for all products, because a decision has a whole pass's time.
        self._multiplier = SerialMultiplier(
            len(self._work), max(tiles.width, LENGTHS[0].bit_length(), LAYER.width)
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = self._multiplier
        self._admit(m)
        self._predict(m)
        self._measure(m)
        self._request(m)
        # Kept until it is used: a pass may begin during the decision for the one before.
        stale = Signal()
        with m.FSM():
            # Waits for a pass.
            with m.State("IDLE"):
                with m.If(stale):
                    m.d.sync += [
                        stale.eq(0),
                        self._now.eq(self._time),
                        self._number.eq(0),
                        self._any.eq(0),
                        self._best.eq(0),
                        self._rest.eq(self.total),
                        self._tiles.eq(0),
                        self._pass_tiles.eq(0),
                    ]
                    m.next = "TILES"
            self._scale(m)
            self._slots(m)
            # Without a deadline or a measured pass nothing is known that would allow less.
            with m.State("DECIDE"):
                point = Mux(self._any & (self._cycles != 0), self._best, HIGHEST)
                m.d.sync += self._target.eq(point)
                m.next = "IDLE"
        with m.If(self.begin):
            m.d.sync += stale.eq(1)
        return m

    def _scale(self, m):
        """Three states: tiles of this pass and of the last one, whose cycles times the former."""
        # A tile is taken off in each cycle: T need not be a power of two, and passes are long.
        with m.State("TILES"):
            self._divide(m, self._tiles, "PASS_TILES")
        # The same for the last pass.
        with m.State("PASS_TILES"):
            self._divide(m, self._pass_tiles, "SCALE")
        # Its cycles, as if it had this pass's tiles; the division by its own is left to BUDGET.
        with m.State("SCALE"):
            with m.If(self._multiplier.multiply(m, self._cycles, self._tiles)):
                m.d.sync += self._scaled.eq(self._multiplier.product)
                m.next = "SLOT"

    def _slots(self, m):
        """Four states: for each slot, the lowest point that meets its deadline too."""
        multiplier = self._multiplier
        # The next slot with a deadline.
        with m.State("SLOT"):
            self._slot(m)
        # The time left is multiplied by the divisor of `_scaled`: nothing need be divided.
        with m.State("BUDGET"):
            with m.If(multiplier.multiply(m, self._left, self._pass_tiles)):
                m.d.sync += self._budget.eq(multiplier.product)
                m.next = "WORK"
        # Work left: layers times a pass.
        with m.State("WORK"):
            with m.If(multiplier.multiply(m, self._scaled, self._ahead)):
                m.d.sync += self._work.eq(multiplier.product)
                m.next = "COMPARE"
        # Climbs until the deadline is met. It never goes down again: the tightest one decides.
        with m.State("COMPARE"):
            with m.If(multiplier.multiply(m, self._work, Array(LENGTHS)[self._best])):
                with m.If((multiplier.product > self._budget) & (self._best != HIGHEST)):
                    m.d.sync += self._best.eq(self._best + 1)
                with m.Else():
                    m.d.sync += self._number.eq(self._number + 1)
                    m.next = "SLOT"

    def _divide(self, m, quotient, following):
        """`quotient` = rows / T, rounded up; then the rows of the last pass are next."""
        with m.If(self._rest == 0):
            m.d.sync += self._rest.eq(self._rows)
            m.next = following
        with m.Else():
            lanes = self.config.tokens
            m.d.sync += [
                self._rest.eq(Mux(self._rest > lanes, self._rest - lanes, 0)),
                quotient.eq(quotient + 1),
            ]

    def _slot(self, m):
        """Time and layers left of a resident slot with a deadline; the others are passed over."""
        number = self._number
        slot = Array(self.slots)[self._number]
        predicted = Array(self.predicted)[number]
        left = Array(self._deadlines)[number] - self._now
        ahead = Mux(predicted == 0, self.layers, predicted) - slot.layer
        # At the highest point no further slot can change anything.
        with m.If((number == self.config.slots) | (self._best == HIGHEST)):
            m.next = "DECIDE"
        with m.Elif(slot.resident & self._limited.bit_select(number, 1)):
            m.d.sync += [
                self._any.eq(1),
                # Too late counts as no time left; who is still here needs at least one more layer.
                self._left.eq(Mux(left[: TIME.width].as_signed() > 0, left[: TIME.width - 1], 0)),
                self._ahead.eq(Mux(ahead > 1, ahead, 1)),
            ]
            m.next = "BUDGET"
        with m.Else():
            m.d.sync += number.eq(number + 1)

    def _admit(self, m):
        """The time, and each slot's deadline in it."""
        admit = self.admit
        # A slower clock's cycle counts for more: a deadline holds whatever the points until then.
        m.d.sync += self._time.eq(self._time + Array(LENGTHS)[self._current])
        for i, deadline in enumerate(self._deadlines):
            with m.If(self.admit_valid & (admit.slot == i)):
                m.d.sync += [
                    deadline.eq(self._time + (admit.deadline << PERIOD_FRAC)),
                    self._limited[i].eq(admit.deadline != 0),
                    self.predicted[i].eq(0),
                ]

    def _predict(self, m):
        """The bin of a slot's first entropy gives its exit layer, a cycle later."""
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
        """Asks for the target when it is another point, and once after reset."""
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
