# SPDX-License-Identifier: Apache-2.0
"""The MAC array: T token lanes x P column lanes, where zero weights cost no cycles."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import PADDING
from hw.array.bitmask import string_layout
from hw.array.mac_lane import (
    WINDOW,
    MacLane,
    group_layout,
    loading_layout,
    result_layout,
    write_layout,
)
from hw.array.product import unpack
from hw.shapes import code
from hw.stream import Fifo

__all__ = [
    "NOWHERE",
    "MacArray",
    "column_layout",
    "array_command_layout",
    "dense_layout",
    "activation_layout",
]

NOWHERE = PADDING  # destination of a padding column
LOAD = 2  # cycles from a row at `i_load` until the lanes can read it
OPEN = 2  # from a command into a queue before the array to its first group in the window
DRAIN = 2  # from a lane to `o`, as many columns as that
DENSE = 16  # entries that wait for the lanes: more than a feeder pauses between two groups


def dense_layout(config):
    """One weight for each of the `lanes` that take it."""
    return data.StructLayout(
        {
            "lanes": config.columns,
            "k": ceil_log2(config.reduction),
            "codes": data.ArrayLayout(code(config), config.columns),
            "last": 1,
        }
    )


def activation_layout(config):
    """The activations of the next row k."""
    return data.StructLayout({"codes": data.ArrayLayout(code(config), config.tokens), "last": 1})


def array_command_layout(config, meta):
    """Work on the next `groups` groups (at least one). Those of a `dense` command come from `i_dense`; the column of lane p has the destination
    `base` + p if `lanes` has p, else NOWHERE."""
    return data.StructLayout(
        {
            "groups": 8,
            "rewind": 1,
            "free": 1,
            "dense": 1,
            "base": 16,
            "lanes": config.columns,
            "meta": meta,
        }
    )


def column_layout(config, meta):
    """A finished column; `last` of its command."""
    return data.StructLayout({**result_layout(config).members, "last": 1, "meta": meta})


class MacArray(wiring.Component):
    """accumulators[t] of column n = sum over k of activation[k][t] * weight[k][n], exact; only non-zero weights take cycles.

    Lane p works on the p-th column of each group, from its own ring of weights that runs ahead. A lane that has finished its column goes on with
    the next group, at most two groups beyond the one that is leaving, so lanes take turns at being the slowest. Finished columns leave behind the
    next groups' work, lane 0 first.

    Cycles: a column takes one for each entry and one more; a rewind one or two more; a group at least P, since a column leaves each cycle.
    Latency 8 (9 where products are shifted) from a column's last entry, waiting in its ring's output, to `o`. Stalls: each lane alone on an empty
    ring, an untaken result or a row of the tile that is not loaded; all on a tile of which nothing is.

    No deadlock as long as every block of groups fits the rings: from the first entry of the block in any lane to the word of the stream that
    completes the block in every lane no more than `weight_depth` entries and 128 columns.

    Parameters
    ----------
    config : HardwareConfig
    meta : bits that travel with a command to its columns

    Members
    -------
    i_weights : In(stream of string_layout), word i goes to lane i % P; weights of later commands wait in the rings
    i_dense : In(stream of dense_layout), weights of dense commands: the chosen lanes take an entry together; zero codes are ordinary
    i_load : In(stream of activation_layout), rows 0, 1, .. of a tile into a free bank, up to the `last`
    i_command : In(stream of array_command_layout), runs on the oldest bank without one, from its first row on. `rewind`: then back to the block's first
        column, else each column is released behind its use (of a dense one always); `free`: then release the bank
    o : Out(stream of column_layout); destination 0xFFFF: nothing is stored
    reduction, groups : In, K and columns of each lane in the weight stream, stable while its first words are taken
    idle : Out(1), no command is being worked on and no column is left
    busy, macs : Out(1), Out(count), a lane multiplies in this cycle; how many do
    stall_weights, stall_load, stall_drain : Out(1), no lane does, because of
    """

    def __init__(self, config, *, meta=0):
        self.config = config
        self.meta = meta
        self.lanes = [MacLane(config) for _ in range(config.columns)]
        super().__init__(
            {
                "i_weights": In(stream.Signature(string_layout(config))),
                "i_dense": In(stream.Signature(dense_layout(config))),
                "i_load": In(stream.Signature(activation_layout(config))),
                "i_command": In(stream.Signature(array_command_layout(config, meta))),
                "o": Out(stream.Signature(column_layout(config, meta))),
                "reduction": In(range(config.reduction + 1)),
                "groups": In(16),
                "idle": Out(1),
                "busy": Out(1),
                "macs": Out(range(config.columns + 1)),
                "stall_weights": Out(1),
                "stall_load": Out(1),
                "stall_drain": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for index, lane in enumerate(self.lanes):
            m.submodules[f"lane_{index}"] = lane
            m.d.comb += [
                lane.reduction.eq(self.reduction),
                lane.groups.eq(self.groups),
            ]
        bank, advance = (
            Signal(),
            Signal(),
        )  # the bank of the next command; the first group of the window has left
        ready, sent, release = (
            Signal(2),
            Signal(2),
            Signal(2),
        )  # banks with rows of a tile; whose last command was sent; whose use has ended
        no_tile = self.i_command.valid & ~ready.bit_select(bank, 1)
        self._distribute(m)
        self._dense(m)
        self._load(m, ready, sent, release)
        window = self._sequence(m, ready, sent, bank, advance)
        m.d.comb += release.eq(_bank(window[0].bank, advance & window[0].end & window[0].free))
        self._drain(m, window[0], advance)
        self._count(m, no_tile)
        m.d.comb += self.idle.eq(
            ~self.i_command.valid & ~Cat(group.valid for group in window).any() & ~self._draining
        )
        return m

    def _distribute(self, m):
        """Word i of a stream to lane i % P, whatever the length of the stream before."""
        turn = Signal(self.config.columns)
        following = Signal(self.config.columns, init=1)
        opening = Signal()
        first = self.i_weights.payload.first | opening  # of a lane's string
        m.d.comb += turn.eq(Mux(self.i_weights.payload.first, 1, following))
        for index, lane in enumerate(self.lanes):
            m.d.comb += [
                lane.i.payload.data.eq(self.i_weights.payload.data),
                lane.i.payload.first.eq(first),
                lane.i.valid.eq(self.i_weights.valid & turn[index]),
            ]
        m.d.comb += self.i_weights.ready.eq((Cat(lane.i.ready for lane in self.lanes) & turn).any())
        with m.If(self.i_weights.valid & self.i_weights.ready):
            m.d.sync += [
                following.eq(turn.rotate_left(1)),
                opening.eq(first & ~turn[-1]),
            ]

    def _dense(self, m):
        """A short queue, so that its source need not keep step; one entry to the chosen lanes at once."""
        m.submodules.dense = queue = Fifo(dense_layout(self.config), DENSE)
        wiring.connect(m, wiring.flipped(self.i_dense), queue.i)
        entry = queue.o
        m.d.comb += entry.ready.eq(
            (~entry.payload.lanes | Cat(lane.i_dense.ready for lane in self.lanes)).all()
        )
        for index, lane in enumerate(self.lanes):
            m.d.comb += [
                lane.i_dense.valid.eq(entry.valid & entry.ready & entry.payload.lanes[index]),
                lane.i_dense.payload.k.eq(entry.payload.k),
                lane.i_dense.payload.code.eq(entry.payload.codes[index]),
                lane.i_dense.payload.last.eq(entry.payload.last),
            ]

    def _load(self, m, ready, sent, release):
        """Take activations apart and write them into all lanes' copies; `ready` follows the first write."""
        bank = Signal()
        row = Signal(range(self.config.reduction))
        write = Signal(write_layout(self.config))
        last = Signal()
        used = Signal(2)
        loading = Signal(loading_layout(self.config))
        m.d.comb += self.i_load.ready.eq(~used.bit_select(bank, 1))
        write_row = self.i_load.valid & self.i_load.ready
        m.d.sync += [
            write.enable.eq(write_row),
            write.address.eq(Cat(bank, row)),
            last.eq(self.i_load.payload.last),
        ]
        m.d.sync += [
            write.operands[token].eq(unpack(self.config, value))
            for token, value in enumerate(self.i_load.payload.codes)
        ]
        with m.If(write_row):
            m.d.sync += [
                row.eq(Mux(self.i_load.payload.last, 0, row + 1)),
                bank.eq(bank ^ self.i_load.payload.last),
            ]
        m.d.sync += [
            used.eq(used & ~release | _bank(bank, write_row & self.i_load.payload.last)),
            ready.eq(ready & ~sent | _bank(write.address[0], write.enable & (loading.rows == 0))),
        ]
        with m.If(write.enable):
            m.d.sync += [
                loading.bank.eq(write.address[0]),
                loading.rows.eq(Mux(last, 0, loading.rows + 1)),
            ]
        for lane in self.lanes:
            m.d.comb += [
                lane.write.eq(write),
                lane.loading.eq(loading),
            ]

    def _sequence(self, m, ready, sent, bank, advance):
        """Commands to a window of groups, the first one being drained; returns it."""
        command = self.i_command.payload
        count = Signal(8)
        end = Signal()
        meta = data.StructLayout({"base": 16, "lanes": self.config.columns, "meta": self.meta})
        window = [Signal(group_layout(meta), name=f"group_{index}") for index in range(WINDOW)]
        valid = self.i_command.valid & ready.bit_select(bank, 1)
        fresh = Signal(group_layout(meta))
        m.d.comb += [
            end.eq(count + 1 == command.groups),
            fresh.valid.eq(valid),
            fresh.bank.eq(bank),
            fresh.end.eq(end),
            fresh.rewind.eq(command.rewind),
            fresh.free.eq(command.free),
            fresh.dense.eq(command.dense),
            *(fresh.meta[name].eq(command[name]) for name in ("base", "lanes", "meta")),
        ]
        move = advance  # place i is given up, filled from place i + 1
        for group, after in zip(window, [*window[1:], fresh], strict=True):
            move = ~group.valid | move
            with m.If(move):
                m.d.sync += group.eq(after)
        m.d.comb += [
            self.i_command.ready.eq(move & valid & end),
            sent.eq(_bank(bank, self.i_command.ready & command.free)),
        ]
        with m.If(move & valid):
            m.d.sync += [
                count.eq(Mux(end, 0, count + 1)),
                bank.eq(bank ^ (end & command.free)),
            ]
        for lane in self.lanes:
            m.d.comb += lane.advance.eq(advance)
            m.d.comb += [
                place[name].eq(group[name])
                for place, group in zip(lane.window, window, strict=True)
                for name in ("valid", "bank", "dense", "end", "rewind")
            ]
        return window

    def _drain(self, m, group, advance):
        """Results in the order of the lanes; `advance` with the last lane's. Two stages: all but one lane's are zero, then or.

        Registers that are cleared route better, and take less, than a wide multiplexer."""
        columns = self.config.columns
        turn = Signal(columns, init=1)
        move = Signal()
        chosen = Signal()
        end = Signal()
        gated = [
            Signal(result_layout(self.config), name=f"gated_{index}", reset_less=True)
            for index in range(columns)
        ]
        meta = Signal(self.meta, reset_less=True)
        column = Signal(column_layout(self.config, self.meta), reset_less=True)
        lane_number = Signal(range(columns))
        dense = Signal()
        place = Signal(16, reset_less=True)
        result = data.View(
            result_layout(self.config), reduce(or_, (gate.as_value() for gate in gated))
        )
        valid = (turn & Cat(lane.o.valid for lane in self.lanes)).any()
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            self.o.p.eq(column),
            advance.eq(valid & move & turn[-1]),
        ]
        with m.If(move):
            m.d.sync += [
                chosen.eq(valid),
                end.eq(group.end & turn[-1]),
                meta.eq(group.meta.meta),
                dense.eq(group.dense),
                place.eq(
                    Mux((turn & group.meta.lanes).any(), group.meta.base + lane_number, NOWHERE)
                ),
                self.o.valid.eq(chosen),
                column.accumulators.eq(result.accumulators),
                column.bias.eq(Mux(dense, 0, result.bias)),
                column.destination.eq(Mux(dense, place, result.destination)),
                column.last.eq(end),
                column.meta.eq(meta),
            ]
            with m.If(valid):
                m.d.sync += [
                    turn.eq(turn.rotate_left(1)),
                    lane_number.eq(Mux(turn[-1], 0, lane_number + 1)),
                ]
        for bit, gate, lane in zip(turn, gated, self.lanes, strict=True):
            m.d.comb += lane.o.ready.eq(bit & move)
            with m.If(move):
                m.d.sync += gate.eq(Mux(bit, lane.o.payload.as_value(), 0))
        self._draining = chosen | self.o.valid

    def _count(self, m, no_tile):
        """Pulses of the counters, one cycle late."""
        multiplies = Cat(lane.multiplies for lane in self.lanes)
        starved, blocked, waits = (
            Cat(getattr(lane, name) for lane in self.lanes).any()
            for name in ("starved", "blocked", "waits")
        )
        m.d.sync += [
            self.busy.eq(multiplies.any()),
            self.macs.eq(sum(multiplies)),
            self.stall_weights.eq(~multiplies.any() & starved),
            self.stall_drain.eq(~multiplies.any() & ~starved & blocked),
            self.stall_load.eq(~multiplies.any() & ~starved & ~blocked & (no_tile | waits)),
        ]


def _bank(bank, condition):
    """One bit for each bank: this one's, on a condition."""
    return Cat(~bank & condition, bank & condition)
