# SPDX-License-Identifier: Apache-2.0
"""The MAC array: T token lanes x P column lanes, where zero weights cost no cycles."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.array.bitmask import string_layout
from hw.array.drain import Drain, column_layout, group_meta
from hw.array.mac_lane import WINDOW, MacLane, group_layout, loading_layout, write_layout
from hw.array.product import unpack_products
from hw.checks import check_shape
from hw.shapes import BANKS, BLOCK, COLUMN, GROUPS, code, tile_codes
from hw.stream import Fifo

__all__ = ["MacArray", "activation_layout", "array_command_layout", "dense_layout"]

LOAD = 2  # cycles from a row at `i_load` until the lanes can read it
OPEN = 2  # from a command into a queue before the array to its first group in the window
# Dense entries that wait for the lanes: more than a feeder pauses between two groups.
DENSE = 16


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
    return data.StructLayout({"codes": tile_codes(config), "last": 1})


def array_command_layout(config, meta):
    """Work on the next `groups` groups (at least one), on the oldest bank that has no command yet.

    rewind : then the weights go back to the block's first column; otherwise each column's are
        released behind its use, as a dense group's always are
    free : then the bank is released
    dense : the groups come from `i_dense`; the column of lane p has the destination `base` + p if
        `lanes` has p, else NOWHERE
    meta : travels to the columns
    """
    return data.StructLayout(
        {
            "groups": BLOCK,
            "rewind": 1,
            "free": 1,
            "dense": 1,
            "base": COLUMN,
            "lanes": config.columns,
            "meta": meta,
        }
    )


class MacArray(wiring.Component):
    """accumulators[t] of column n = sum over k of activation[k][t] * weight[k][n], exact.

    T token lanes x P column lanes; only weights that are not 0 take cycles. Lane p works on the
    p-th column of each group, from its own ring of weights that runs ahead. A lane that has
    finished its column goes on with the next group, at most two groups beyond the one that is
    leaving, so lanes take turns at being the slowest. Finished columns leave behind the next
    groups' work, lane 0 first.

    Throughput: a column takes a cycle for each entry and one more; a rewind one or two more; a
    group at least P, since a column leaves each cycle. Latency from a column's last entry,
    waiting in its ring's output, to `o`: that of its lane and of `Drain`. Stalled: each lane alone,
    by an empty ring, an untaken result or a row of the tile that is not loaded; all of them, by a
    tile of which nothing is.

    No deadlock as long as every block of groups fits the rings: from the first entry of the block
    in any lane to the word of the stream that completes the block in every lane no more than
    `weight_depth` entries and 128 columns.

    Parameters
    ----------
    config : HardwareConfig
    meta : shape of what travels with a command to its columns

    Members
    -------
    i_weights : In(stream of string_layout), word i goes to lane i % P; weights of later commands
        wait in the rings
    i_dense : In(stream of dense_layout), weights of dense commands: the chosen lanes take an entry
        together; zero codes are ordinary
    i_load : In(stream of activation_layout), rows 0, 1, .. of a tile into a free bank, up to the
        `last`
    i_command : In(stream of array_command_layout)
    o : Out(stream of column_layout); destination 0xFFFF: nothing is stored
    reduction : In(range(config.reduction + 1)), K of the weight stream, stable while its first
        words are taken
    groups : In(GROUPS), columns of each lane in the weight stream, stable likewise
    idle : Out(1), no command is being worked on and no column is left
    busy : Out(1), a lane multiplies in this cycle
    macs : Out(range(P + 1)), how many do
    stall_weights : Out(1), none does, because an entry is missing
    stall_load : Out(1), none does, because a row of a tile is missing
    stall_drain : Out(1), none does, because results are not taken
    """

    def __init__(self, config, *, meta=0):
        check_shape("Meta", meta)
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
                "groups": In(GROUPS),
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
        m.submodules.drain = drain = Drain(self.config, meta=self.meta)
        wiring.connect(m, drain.o, wiring.flipped(self.o))
        for lane, result in zip(self.lanes, drain.i, strict=True):
            wiring.connect(m, lane.o, result)
        # Banks of the activation copies: a tile in one is worked on while the next fills the other.
        bank = Signal()  # of the next command
        ready = Signal(BANKS)  # has rows of a tile
        sent = Signal(BANKS)  # the last command on it is given
        release = Signal(BANKS)  # its use has ended
        no_tile = self.i_command.valid & ~ready.bit_select(bank, 1)
        self._distribute(m)
        self._dense(m)
        self._load(m, ready, sent, release)
        window = self._sequence(m, ready, sent, bank, drain.advance)
        first = window[0]
        m.d.comb += [
            drain.group.eq(first),
            release.eq(_bank(first.bank, drain.advance & first.end & first.free)),
            self.idle.eq(
                ~self.i_command.valid & ~Cat(group.valid for group in window).any() & drain.idle
            ),
        ]
        self._count(m, no_tile)
        return m

    def _distribute(self, m):
        """Word i of a stream to lane i % P."""
        # Strings are interleaved by bus word, so a word goes straight to its lane and no string
        # waits for another. The turn begins at a stream's first word, whatever came before.
        turn = Signal(self.config.columns)
        following = Signal(self.config.columns, init=1)
        opening = Signal()  # the lanes' first words are not all out
        word = self.i_weights
        first = word.payload.first | opening  # of a lane's string
        m.d.comb += turn.eq(Mux(word.payload.first, 1, following))
        for index, lane in enumerate(self.lanes):
            m.d.comb += [
                lane.i.payload.data.eq(word.payload.data),
                lane.i.payload.first.eq(first),
                lane.i.valid.eq(word.valid & turn[index]),
            ]
        m.d.comb += word.ready.eq((Cat(lane.i.ready for lane in self.lanes) & turn).any())
        with m.If(word.valid & word.ready):
            m.d.sync += [
                following.eq(turn.rotate_left(1)),
                opening.eq(first & ~turn[-1]),
            ]

    def _dense(self, m):
        """Dense entries, each to the chosen lanes at once."""
        # A short queue, so that the source need not keep step with the lanes. They take an entry in
        # the same cycle, so nobody has to remember who has had it.
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
        """Activations, as operands, into all lanes' copies; `ready` follows the first write."""
        bank = Signal()  # that is being filled
        row = Signal(range(self.config.reduction))
        write = Signal(write_layout(self.config))
        last = Signal()  # with `write`
        used = Signal(BANKS)  # a whole tile is there and not yet released
        loading = Signal(loading_layout(self.config))
        # Rows are taken as soon as the bank's last use has ended, whatever the other bank does.
        m.d.comb += self.i_load.ready.eq(~used.bit_select(bank, 1))
        # A register between the decoders and P lanes full of memories, all over the chip.
        write_row = self.i_load.valid & self.i_load.ready
        m.d.sync += [
            write.enable.eq(write_row),
            write.address.eq(Cat(bank, row)),
            last.eq(self.i_load.payload.last),
        ]
        m.d.sync += [
            write.operands[token].eq(unpack_products(self.config, value))
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
        # Lanes begin before their tile is complete: they look at how many rows are there.
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
        """Commands to a window of groups, of which the first one is drained; returns it."""
        command = self.i_command.payload
        count = Signal(BLOCK)  # of the command's groups that are in the window or through
        end = Signal()
        meta = group_meta(self.config, self.meta)
        window = [Signal(group_layout(meta), name=f"group_{index}") for index in range(WINDOW)]
        valid = self.i_command.valid & ready.bit_select(bank, 1)
        fresh = Signal(group_layout(meta))
        # A command stays at the input until its last group is in the window, so nothing copies it.
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
        # Place i is filled from place i + 1 when it is given up or empty.
        move = advance
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
        # The lanes see what concerns their work; the rest of a group is for the drain alone.
        for lane in self.lanes:
            m.d.comb += lane.advance.eq(advance)
            m.d.comb += [
                place[name].eq(group[name])
                for place, group in zip(lane.window, window, strict=True)
                for name in ("valid", "bank", "dense", "end", "rewind")
            ]
        return window

    def _count(self, m, no_tile):
        """Pulses of the counters, two cycles late."""
        # What lanes do is known late in a cycle, so a register comes first. Of a cycle without work
        # one reason counts: lanes that starve keep the others blocked, not the other way round.
        multiplies = Signal(self.config.columns)
        starved = Signal()
        blocked = Signal()
        waits = Signal()
        m.d.sync += [
            multiplies.eq(Cat(lane.multiplies for lane in self.lanes)),
            starved.eq(Cat(lane.starved for lane in self.lanes).any()),
            blocked.eq(Cat(lane.blocked for lane in self.lanes).any()),
            waits.eq(no_tile | Cat(lane.waits for lane in self.lanes).any()),
        ]
        m.d.sync += [
            self.busy.eq(multiplies.any()),
            self.macs.eq(sum(multiplies)),
            self.stall_weights.eq(~multiplies.any() & starved),
            self.stall_drain.eq(~multiplies.any() & ~starved & blocked),
            self.stall_load.eq(~multiplies.any() & ~starved & ~blocked & waits),
        ]


def _bank(bank, condition):
    """One bit for each bank: this one's, on a condition."""
    return Cat(~bank & condition, bank & condition)
