# SPDX-License-Identifier: Apache-2.0
"""The row table: which live token of which slot is in which physical row (system.md, Rows, slots and passes)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.shapes import index
from hw.stream import Fifo

__all__ = ["Command", "Rows", "command_layout", "entry_layout", "index", "slot_layout"]


class Command(enum.Enum, shape=3):
    """What the row table does."""

    ADMIT = 0  # `slot` now holds queue entry `sentence`, at layer 0, fresh, without rows
    APPEND = 1  # append the taken row `physical` at `position` to `slot`, the slot that was admitted last
    COMPACT = (
        2  # drop the rows of slots in `release`, and those without keep bit of slots in `mask`
    )
    ADVANCE = 3  # `slot` is one layer further
    SETTLE = 4  # no slot is fresh any more


def command_layout(config):
    """What `Rows.i_command` takes; fields that a command does not name are ignored."""
    return data.StructLayout(
        {
            "command": Command,
            "slot": index(config.slots),
            "position": index(config.positions),
            "physical": index(config.physical_rows),
            "sentence": 32,
            "mask": config.slots,
            "release": config.slots,
        }
    )


def entry_layout(config):
    """One row: its physical row, its slot, the token's original position."""
    return data.StructLayout(
        {
            "physical": index(config.physical_rows),
            "slot": index(config.slots),
            "position": index(config.positions),
        }
    )


def slot_layout(config):
    """One slot. Its rows are the logical rows start .. start + count - 1."""
    return data.StructLayout(
        {
            "resident": 1,
            "fresh": 1,
            "sentence": 32,
            "layer": index(config.layers + 1),
            "start": index(config.rows),
            "count": index(config.positions + 1),
        }
    )


class Rows(wiring.Component):
    """Row table, slot table and free list.

    Logical rows 0 .. total-1 are live, in order of admission; the rows of a slot are contiguous. Rows never move in the
    data memories: dropping edits the table, and the physical rows go back to the free list. A row is first taken from that
    list, to be filled, and appended later: what is taken is neither free nor live. The list is a queue, so rows can be
    taken in any cycle, also while a compaction gives others back.

    After reset the free list is filled, `physical_rows` + 1 cycles. Latency, cycles from a command's transfer to `done`: total + 2 for COMPACT,
    1 for the others. The next command is taken in the cycle of `done`.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i_command : In(stream of command_layout)
    o_free : Out(stream of index(physical_rows)), physical rows to take
    done : Out(1), pulse: the command has taken effect in every output
    keep_write : In({enable, row, keep}), keep bit of a logical row; COMPACT reads that of row r 1 + r cycles after the command's transfer, and
        sees what was written before
    read_row : In(index(rows)), logical row
    read_data : Out(entry_layout), the entry one cycle later; undefined while a command runs and for rows >= total
    slots : Out(array of slot_layout), registers
    free, total : Out, physical rows that are free, logical rows that are live; the others have been taken
    dropped : Out({valid, slot, position}), pulse: COMPACT drops this row, for its keep bit
    changed : Out({valid, row, slot, position}), pulse: the table gets this entry (trace tap `row`)
    slot_changed : Out({valid, slot, sentence, layer}), pulse (trace tap `slot`)
    """

    def __init__(self, config):
        self._config = config
        row = index(config.rows)
        physical = index(config.physical_rows)
        slot = index(config.slots)
        super().__init__(
            {
                "i_command": In(stream.Signature(command_layout(config))),
                "o_free": Out(stream.Signature(physical)),
                "done": Out(1),
                "keep_write": In(data.StructLayout({"enable": 1, "row": row, "keep": 1})),
                "read_row": In(row),
                "read_data": Out(entry_layout(config)),
                "slots": Out(data.ArrayLayout(slot_layout(config), config.slots)),
                "free": Out(index(config.physical_rows + 1)),
                "total": Out(index(config.rows + 1)),
                "dropped": Out(
                    data.StructLayout(
                        {"valid": 1, "slot": slot, "position": index(config.positions)}
                    )
                ),
                "changed": Out(
                    data.StructLayout(
                        {"valid": 1, "row": row, "slot": slot, "position": index(config.positions)}
                    )
                ),
                "slot_changed": Out(
                    data.StructLayout(
                        {
                            "valid": 1,
                            "slot": slot,
                            "sentence": 32,
                            "layer": index(config.layers + 1),
                        }
                    )
                ),
            }
        )
        self._scan = Signal(
            index(config.physical_rows + 1)
        )  # counts rows, after reset and in COMPACT
        self._length = Signal.like(self.total)  # rows before the compaction
        self._more = Signal()  # the compaction has rows to read
        self._kept = Signal.like(self.total)  # rows that the compaction has kept so far
        self._latched = Signal(command_layout(config))  # the command in progress
        self._put = Signal(physical)  # physical row of the entry that `changed` describes
        self._table_address = Signal(row)
        self._keep = Signal()  # keep bit of the row on `read_data`
        self._freed = Signal(
            data.StructLayout({"enable": 1, "row": physical})
        )  # put into the free list

    def elaborate(self, platform):
        m = Module()
        self._memories(m)
        m.d.sync += self.done.eq(0)
        with m.FSM(init="Reset") as fsm:
            with m.State("Reset"):  # fill the free list
                self._reset(m)
            with m.State("Idle"):  # take a command
                self._accept(m)
            with m.State("Compact"):  # read one row, keep or free the one before
                self._compact(m)
            m.d.comb += self._table_address.eq(
                Mux(fsm.ongoing("Compact") & self._more, self._scan, self.read_row)
            )
        return m

    def _memories(self, m):
        """The table, the free list and the keep bits."""
        config = self._config
        m.submodules.table = table = Memory(shape=entry_layout(config), depth=config.rows, init=[])
        m.submodules.free_list = free_list = Fifo(index(config.physical_rows), config.physical_rows)
        m.submodules.keep = keep = Memory(shape=1, depth=config.rows, init=[])
        table_read = table.read_port()
        table_write = table.write_port()
        keep_read = keep.read_port()
        keep_write = keep.write_port()
        m.d.comb += [
            table_write.addr.eq(self.changed.row),
            table_write.data.physical.eq(self._put),
            table_write.data.slot.eq(self.changed.slot),
            table_write.data.position.eq(self.changed.position),
            table_write.en.eq(self.changed.valid),
            table_read.addr.eq(self._table_address),
            self.read_data.eq(table_read.data),
            free_list.i.valid.eq(self._freed.enable),  # it has room for all rows
            free_list.i.payload.eq(self._freed.row),
            self.free.eq(free_list.level),
            keep_write.addr.eq(self.keep_write.row),
            keep_write.data.eq(self.keep_write.keep),
            keep_write.en.eq(self.keep_write.enable),
            keep_read.addr.eq(Mux(self._more, self._scan, 0)),
            self._more.eq(self._scan != self._length),
            self._keep.eq(keep_read.data),
        ]
        wiring.connect(m, free_list.o, wiring.flipped(self.o_free))

    def _change(self, m, row, physical, slot, position):
        """Write an entry of the table."""
        m.d.comb += [
            self.changed.valid.eq(1),
            self.changed.row.eq(row),
            self.changed.slot.eq(slot),
            self.changed.position.eq(position),
            self._put.eq(physical),
        ]

    def _show(self, m, slot, sentence, layer):
        m.d.comb += [
            self.slot_changed.valid.eq(1),
            self.slot_changed.slot.eq(slot),
            self.slot_changed.sentence.eq(sentence),
            self.slot_changed.layer.eq(layer),
        ]

    def _free(self, m, row):
        m.d.comb += [
            self._freed.enable.eq(1),
            self._freed.row.eq(row),
        ]

    def _reset(self, m):
        self._free(m, self._scan)
        m.d.sync += self._scan.eq(self._scan + 1)
        with m.If(self._scan == self._config.physical_rows - 1):
            self._end(m)

    def _end(self, m):
        m.d.sync += self.done.eq(1)
        m.next = "Idle"

    def _accept(self, m):
        command = self.i_command.payload
        m.d.comb += self.i_command.ready.eq(1)
        m.d.sync += [
            self._scan.eq(0),
            self._kept.eq(0),
            self._length.eq(self.total),
            self._latched.eq(command),
        ]
        with m.If(self.i_command.valid):
            with m.Switch(command.command):
                with m.Case(Command.ADMIT):
                    self._admit(m, command)
                    self._end(m)
                with m.Case(Command.APPEND):
                    self._append(m, command)
                    self._end(m)
                with m.Case(Command.COMPACT):
                    for slot, release in zip(self.slots, command.release, strict=True):
                        m.d.sync += [
                            slot.count.eq(0),
                            slot.resident.eq(slot.resident & ~release),
                        ]
                    m.next = "Compact"
                with m.Case(Command.ADVANCE):
                    self._advance(m, command)
                    self._end(m)
                with m.Case(Command.SETTLE):
                    m.d.sync += [slot.fresh.eq(0) for slot in self.slots]
                    self._end(m)

    def _admit(self, m, command):
        self._show(m, command.slot, command.sentence, 0)
        for i, slot in enumerate(self.slots):
            with m.If(command.slot == i):
                m.d.sync += [
                    slot.resident.eq(1),
                    slot.fresh.eq(1),
                    slot.sentence.eq(command.sentence),
                    slot.layer.eq(0),
                    slot.start.eq(self.total),
                    slot.count.eq(0),
                ]

    def _append(self, m, command):
        self._change(m, self.total, command.physical, command.slot, command.position)
        m.d.sync += self.total.eq(self.total + 1)
        for i, slot in enumerate(self.slots):
            with m.If(command.slot == i):
                m.d.sync += slot.count.eq(slot.count + 1)

    def _compact(self, m):
        entry = self.read_data
        fetched = Signal()  # `read_data` is the entry of row scan - 1
        release = self._latched.release.bit_select(entry.slot, 1)
        dropped = self._latched.mask.bit_select(entry.slot, 1) & ~self._keep
        m.d.comb += [
            self.dropped.valid.eq(fetched & dropped),
            self.dropped.slot.eq(entry.slot),
            self.dropped.position.eq(entry.position),
        ]
        m.d.sync += [
            fetched.eq(self._more),
            self._scan.eq(self._scan + self._more),
        ]
        with m.If(fetched & (release | dropped)):
            self._free(m, entry.physical)
            m.d.sync += self.total.eq(self.total - 1)
        with m.Elif(fetched):
            self._change(m, self._kept, entry.physical, entry.slot, entry.position)
            m.d.sync += self._kept.eq(self._kept + 1)
            for i, slot in enumerate(self.slots):
                with m.If(entry.slot == i):
                    m.d.sync += slot.count.eq(slot.count + 1)
                    with m.If(slot.count == 0):
                        m.d.sync += slot.start.eq(self._kept)
        with m.If(~self._more):
            self._end(m)

    def _advance(self, m, command):
        for i, slot in enumerate(self.slots):
            with m.If(command.slot == i):
                m.d.sync += slot.layer.eq(slot.layer + 1)
                self._show(m, i, slot.sentence, slot.layer + 1)
