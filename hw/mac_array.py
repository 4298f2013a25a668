# SPDX-License-Identifier: Apache-2.0
"""The MAC array: T token lanes x P column lanes, where zero weights cost no cycles."""

from functools import reduce
from operator import and_

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.bitmask import header_layout
from hw.mac_lane import MacLane, group_layout, result_layout, unpack, write_layout
from hw.shapes import code

__all__ = ["MacArray", "column_layout", "command_layout", "dense_layout", "load_layout"]


def dense_layout(config):
    """One weight for each of the `lanes` that take it."""
    return data.StructLayout({"lanes": config.columns, "k": ceil_log2(config.reduction),
                              "codes": data.ArrayLayout(code(config), config.columns), "last": 1})


def load_layout(config):
    """The activations of the next row k."""
    return data.StructLayout({"codes": data.ArrayLayout(code(config), config.tokens), "last": 1})


def command_layout(meta):
    """Work on the next `groups` groups (at least one)."""
    return data.StructLayout({"groups": 8, "rewind": 1, "free": 1, "meta": meta})


def column_layout(config, meta):
    """A finished column; `last` of its command."""
    return data.StructLayout({**result_layout(config).members, "last": 1, "meta": meta})


class MacArray(wiring.Component):
    """accumulators[t] of column n = sum over k of activation[k][t] * weight[k][n], exact; only non-zero weights take cycles.

    Lane p works on the p-th column of each group, from its own ring of weights that runs ahead. A lane that has finished its column goes on with
    the next group, up to one group ahead of the slowest lane. Finished columns leave through a chain of registers, lane 0 first, behind the next
    group's work. A group costs max over lanes of (entries + 1) cycles, or less where lanes take turns at the longest column, and at least P + 1 (the
    chain); the first column leaves 9 cycles after its last entry was ready. Stalls: each lane alone on an empty ring; all on a missing activation
    tile; on a full chain when the consumer is slow. A rewind costs one more cycle.

    No deadlock as long as every block of groups fits the rings: from the first entry of the block in any lane to the word of the stream that
    completes the block in every lane no more than `weight_depth` entries and 128 columns.

    Parameters
    ----------
    config : HardwareConfig
    meta : bits that travel with a command to its columns

    Members
    -------
    i_weights : In(stream of {"data": bus word}), word i goes to lane i % P
    i_dense : In(stream of dense_layout), instead: one entry into the rings of the chosen lanes; zero codes are ordinary
    i_dense_header : In(stream of {"destinations"}), one for each group of dense columns, before its last entry; 0xFFFF: nothing stored
    i_load : In(stream of load_layout), rows 0, 1, .. of a tile into a free bank; `last` makes it ready
    i_command : In(stream of command_layout), runs on the oldest ready bank. `rewind`: then back to the block's first column, else the block is
        released; `free`: then release the bank
    o : Out(stream of column_layout)
    reduction, groups : In, K and columns of each lane in the weight stream, quasi-static
    clear : In(1), empties everything; memories keep their contents
    idle : Out(1), no command is being worked on and no column is left
    busy, macs : Out(1), Out(count), a lane multiplies in this cycle; how many do
    stall_weights, stall_load, stall_drain : Out(1), no lane does, because of
    """

    def __init__(self, config, *, meta=0):
        self.config, self.meta = config, meta
        destinations = data.StructLayout({"destinations": data.ArrayLayout(16, config.columns)})
        super().__init__({
            "i_weights": In(stream.Signature(data.StructLayout({"data": config.bus_bits}))),
            "i_dense": In(stream.Signature(dense_layout(config))), "i_dense_header": In(stream.Signature(destinations)),
            "i_load": In(stream.Signature(load_layout(config))), "i_command": In(stream.Signature(command_layout(meta))),
            "o": Out(stream.Signature(column_layout(config, meta))),
            "reduction": In(range(config.reduction + 1)), "groups": In(16), "clear": In(1), "idle": Out(1),
            "busy": Out(1), "macs": Out(range(config.columns + 1)),
            "stall_weights": Out(1), "stall_load": Out(1), "stall_drain": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        self._lanes = [MacLane(self.config) for _ in range(self.config.columns)]
        for index, lane in enumerate(self._lanes):
            m.submodules[f"lane_{index}"] = lane
            m.d.comb += [lane.reduction.eq(self.reduction), lane.groups.eq(self.groups)]
        self._distribute(m)
        self._dense(m)
        ready, release, bank = Signal(2), Signal(2), Signal()   # banks that hold a tile; given up; the bank of the next group
        self._load(m, ready, release)
        current, waiting, advance = self._sequence(m, ready, release, bank)
        draining = self._drain(m, current, advance)
        self._count(m, waiting & ~ready.bit_select(bank, 1))
        m.d.comb += self.idle.eq(~waiting & ~self._current_valid & ~draining)
        return ResetInserter(self.clear)(m)

    def _distribute(self, m):
        """Word i of the stream to lane i % P."""
        turn = Signal(self.config.columns, init=1)
        for index, lane in enumerate(self._lanes):
            m.d.comb += [lane.i.payload.eq(self.i_weights.payload.data), lane.i.valid.eq(self.i_weights.valid & turn[index])]
        m.d.comb += self.i_weights.ready.eq((Cat(lane.i.ready for lane in self._lanes) & turn).any())
        with m.If(self.i_weights.valid & self.i_weights.ready):
            m.d.sync += turn.eq(turn.rotate_left(1))

    def _dense(self, m):
        """One entry to the chosen lanes at once; headers to all lanes at once."""
        entry, headers = self.i_dense, self.i_dense_header
        m.d.comb += [
            entry.ready.eq((~entry.payload.lanes | Cat(lane.i_dense.ready for lane in self._lanes)).all()),
            headers.ready.eq(reduce(and_, (lane.i_header.ready for lane in self._lanes))),
        ]
        for index, lane in enumerate(self._lanes):
            header = Signal(header_layout(self.config), name=f"header_{index}")
            m.d.comb += [
                lane.i_dense.valid.eq(entry.valid & entry.ready & entry.payload.lanes[index]),
                lane.i_dense.payload.k.eq(entry.payload.k), lane.i_dense.payload.code.eq(entry.payload.codes[index]),
                lane.i_dense.payload.last.eq(entry.payload.last), header.destination.eq(headers.payload.destinations[index]),
                lane.i_header.valid.eq(headers.valid & headers.ready), lane.i_header.payload.eq(header),
            ]

    def _load(self, m, ready, release):
        """Take activations apart and write them into all lanes' copies; `ready` follows the last write."""
        bank, row = Signal(), Signal(range(self.config.reduction))
        write, last = Signal(write_layout(self.config)), Signal()
        m.d.comb += self.i_load.ready.eq(~ready.bit_select(bank, 1))
        m.d.sync += [write.enable.eq(self.i_load.valid & self.i_load.ready), write.address.eq(Cat(bank, row)),
                     last.eq(self.i_load.payload.last)]
        m.d.sync += [write.operands[token].eq(unpack(self.config, value)) for token, value in enumerate(self.i_load.payload.codes)]
        with m.If(self.i_load.valid & self.i_load.ready):
            m.d.sync += row.eq(Mux(self.i_load.payload.last, 0, row + 1))
            m.d.sync += bank.eq(bank ^ self.i_load.payload.last)
        written = write.enable & last
        m.d.sync += ready.eq((ready | Cat(written & ~write.address[0], written & write.address[0])) & ~release)
        m.d.comb += [lane.write.eq(write) for lane in self._lanes]

    def _sequence(self, m, ready, release, bank):
        """Commands to groups: the current one and the one after it; returns (current, a command waits, the current group ends)."""
        command, count = self.i_command.payload, Signal(8)
        current, following = Signal(group_layout(self.meta)), Signal(group_layout(self.meta))
        self._current_valid, following_valid, advance = Signal(), Signal(), Signal()
        next_current, next_following, end = Signal(), Signal(), Signal()
        valid = self.i_command.valid & ready.bit_select(bank, 1)
        m.d.comb += [
            advance.eq(reduce(and_, (lane.arrived for lane in self._lanes))), end.eq(count + 1 == command.groups),
            next_current.eq(~self._current_valid | advance), next_following.eq(~following_valid | next_current),
            self.i_command.ready.eq(next_following & valid & end),
            release.eq(Mux(advance & current.end & current.free, Cat(~current.bank, current.bank), 0)),
        ]
        with m.If(next_current):
            m.d.sync += [self._current_valid.eq(following_valid), current.eq(following)]
        with m.If(next_following):
            m.d.sync += [following_valid.eq(valid), following.bank.eq(bank), following.end.eq(end), following.rewind.eq(command.rewind),
                         following.free.eq(command.free), following.meta.eq(command.meta)]
            with m.If(valid):
                m.d.sync += [count.eq(Mux(end, 0, count + 1)), bank.eq(bank ^ (end & command.free))]
        for lane in self._lanes:
            m.d.comb += [lane.current_valid.eq(self._current_valid), lane.following_valid.eq(following_valid), lane.advance.eq(advance)]
            for name in ("bank", "end", "rewind"):
                m.d.comb += [lane.current[name].eq(current[name]), lane.following[name].eq(following[name])]
        return current, self.i_command.valid | following_valid, advance

    def _drain(self, m, current, advance):
        """When a group has arrived in the chain, move it out, a column a cycle."""
        draining, left = Signal(), Signal(range(self.config.columns))
        last, meta = Signal(), Signal(self.meta)
        shift = self.o.valid & self.o.ready
        with m.If(advance):
            m.d.sync += [draining.eq(1), left.eq(self.config.columns - 1), last.eq(current.end), meta.eq(current.meta)]
        with m.Elif(shift):
            m.d.sync += [draining.eq(left != 0), left.eq(left - 1)]
        for lane, neighbour in zip(self._lanes, [*self._lanes[1:], None], strict=True):
            m.d.comb += [lane.draining.eq(draining), lane.shift.eq(shift)]
            if neighbour is not None:
                m.d.comb += lane.neighbour.eq(neighbour.result)
        first, o = self._lanes[0].result, self.o.payload
        m.d.comb += [self.o.valid.eq(draining), o.accumulators.eq(first.accumulators), o.bias.eq(first.bias),
                     o.destination.eq(first.destination), o.last.eq(last & (left == 0)), o.meta.eq(meta)]
        return draining

    def _count(self, m, no_tile):
        """Pulses of the counters, one cycle late."""
        multiplies = Cat(lane.multiplies for lane in self._lanes)
        starved, blocked = (Cat(getattr(lane, name) for lane in self._lanes).any() for name in ("starved", "blocked"))
        m.d.sync += [
            self.busy.eq(multiplies.any()), self.macs.eq(sum(multiplies)),
            self.stall_weights.eq(~multiplies.any() & starved), self.stall_drain.eq(~multiplies.any() & ~starved & blocked),
            self.stall_load.eq(~multiplies.any() & ~starved & ~blocked & no_tile),
        ]
