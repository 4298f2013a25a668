# SPDX-License-Identifier: Apache-2.0
"""The row table: which live token of which slot is in which physical row."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.rows.layouts import RowCommand, row_command_layout, row_entry_layout, slot_layout
from hw.shapes import SENTENCE, index
from hw.stream import Fifo

__all__ = ["Rows", "compaction"]


def compaction(total):
    """Cycles from the transfer of COMPACT to `done`, with `total` rows live: a row a cycle."""
    return total + 2


def _events(config):
    """The shapes of the pulses that tell what has changed, by port; each has its own `valid`."""
    slot = index(config.slots)
    token = {"slot": slot, "position": index(config.positions)}
    state = {"sentence": SENTENCE, "layer": index(config.layers + 1)}
    return {
        "dropped": data.StructLayout({"valid": 1, **token}),
        "changed": data.StructLayout({"valid": 1, "row": index(config.rows), **token}),
        "slot_changed": data.StructLayout({"valid": 1, "slot": slot, **state}),
    }


class Rows(wiring.Component):
    """Row table, slot table and free list.

    Logical rows 0 .. total-1 are live, in order of admission; the rows of a slot are contiguous.
    Rows never move in the data memories: dropping edits the table, and the physical rows go back
    to the free list. A row is first taken from that list, to be filled, and appended later: what
    is taken is neither free nor live.

    After reset the free list is filled, `physical_rows` + 1 cycles. Latency from a command's
    transfer to `done`: total + 2 cycles for COMPACT, 1 for the others; the next command is taken in
    the cycle of `done`. Nothing stalls it: an output that is not looked at is lost.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i_command : In(stream of row_command_layout)
    o_free : Out(stream of index(physical_rows)), physical rows to take, in any cycle
    done : Out(1), pulse: the command has taken effect in every output
    keep_write : In({enable, row, keep}), keep bit of a logical row; COMPACT reads that of row r
        1 + r cycles after the command's transfer, and sees what was written before
    read_row : In(index(rows)), logical row
    read_data : Out(row_entry_layout), the entry one cycle later; undefined while a command runs
        and for rows >= total
    slots : Out(array of slot_layout), registers
    free : Out(index(physical_rows + 1)), physical rows that are free
    total : Out(index(rows + 1)), logical rows, all live; the other physical rows have been taken
    dropped : Out({valid, slot, position}), pulse: COMPACT drops this row, for its keep bit
    changed : Out({valid, row, slot, position}), pulse: the table gets this entry
    slot_changed : Out({valid, slot, sentence, layer}), pulse: ADMIT or ADVANCE
    """

    def __init__(self, config):
        self.config = config
        row = index(config.rows)
        physical = index(config.physical_rows)
        super().__init__(
            {
                "i_command": In(stream.Signature(row_command_layout(config))),
                "o_free": Out(stream.Signature(physical)),
                "done": Out(1),
                "keep_write": In(data.StructLayout({"enable": 1, "row": row, "keep": 1})),
                "read_row": In(row),
                "read_data": Out(row_entry_layout(config)),
                "slots": Out(data.ArrayLayout(slot_layout(config), config.slots)),
                "free": Out(index(config.physical_rows + 1)),
                "total": Out(index(config.rows + 1)),
                **{name: Out(event) for name, event in _events(config).items()},
            }
        )
        # Counts rows, after reset and in COMPACT.
        self._scan = Signal(index(config.physical_rows + 1))
        self._length = Signal.like(self.total)  # rows before the compaction
        self._more = Signal()  # the compaction has rows to read
        self._kept = Signal.like(self.total)  # rows that the compaction has kept so far
        self._latched = Signal(row_command_layout(config))  # the command in progress
        self._put = Signal(physical)  # physical row of the entry that `changed` describes
        self._table_address = Signal(row)
        self._keep = Signal()  # keep bit of the row on `read_data`
        # What goes into the free list in this cycle.
        self._freed = Signal(data.StructLayout({"enable": 1, "row": physical}))

    def elaborate(self, platform):
        m = Module()
        self._memories(m)
        m.d.sync += self.done.eq(0)
        with m.FSM(init="RESET") as fsm:
            # Every physical row goes into the free list.
            with m.State("RESET"):
                self._reset(m)
            # A command is taken; all but COMPACT are done at once.
            with m.State("IDLE"):
                self._accept(m)
            # One row is read in each cycle, and the one before is kept or freed.
            with m.State("COMPACT"):
                self._compact(m)
            m.d.comb += self._table_address.eq(
                Mux(fsm.ongoing("COMPACT") & self._more, self._scan, self.read_row)
            )
        return m

    def _memories(self, m):
        """The table, the free list and the keep bits."""
        config = self.config
        m.submodules.table = table = Memory(
            shape=row_entry_layout(config), depth=config.rows, init=[]
        )
        # A queue rather than a stack: rows can be taken while a compaction gives others back.
        m.submodules.free_list = free_list = Fifo(index(config.physical_rows), config.physical_rows)
        # Keep bits are a memory of their own, because DROP writes them while COMPACT reads the
        # table behind it.
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
        """The pulse that tells where a slot's sentence is."""
        m.d.comb += [
            self.slot_changed.valid.eq(1),
            self.slot_changed.slot.eq(slot),
            self.slot_changed.sentence.eq(sentence),
            self.slot_changed.layer.eq(layer),
        ]

    def _free(self, m, row):
        """Put a physical row into the free list."""
        m.d.comb += [
            self._freed.enable.eq(1),
            self._freed.row.eq(row),
        ]

    def _reset(self, m):
        """Free the next physical row; after the last one commands are taken."""
        self._free(m, self._scan)
        m.d.sync += self._scan.eq(self._scan + 1)
        with m.If(self._scan == self.config.physical_rows - 1):
            self._end(m)

    def _end(self, m):
        """The command in progress is done in the next cycle."""
        m.d.sync += self.done.eq(1)
        m.next = "IDLE"

    def _accept(self, m):
        """Take a command, and do it unless it is COMPACT."""
        command = self.i_command.payload
        m.d.comb += self.i_command.ready.eq(1)
        # Whatever the command is: only COMPACT looks at these registers afterwards.
        m.d.sync += [
            self._scan.eq(0),
            self._kept.eq(0),
            self._length.eq(self.total),
            self._latched.eq(command),
        ]
        with m.If(self.i_command.valid):
            with m.Switch(command.command):
                with m.Case(RowCommand.ADMIT):
                    self._admit(m, command)
                    self._end(m)
                with m.Case(RowCommand.APPEND):
                    self._append(m, command)
                    self._end(m)
                with m.Case(RowCommand.COMPACT):
                    # Counts begin at 0 and grow again with the rows that are kept, and the first
                    # of them says where the slot starts: no slot's rows are shifted one by one.
                    for slot, release in zip(self.slots, command.release, strict=True):
                        m.d.sync += [
                            slot.count.eq(0),
                            slot.resident.eq(slot.resident & ~release),
                        ]
                    m.next = "COMPACT"
                with m.Case(RowCommand.ADVANCE):
                    self._advance(m, command)
                    self._end(m)
                with m.Case(RowCommand.SETTLE):
                    m.d.sync += [slot.fresh.eq(0) for slot in self.slots]
                    self._end(m)

    def _admit(self, m, command):
        """A slot gets a sentence, whose rows will be appended at the end of the table."""
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
        """A row behind all others; it is the slot's, because that was admitted last."""
        self._change(m, self.total, command.physical, command.slot, command.position)
        m.d.sync += self.total.eq(self.total + 1)
        for i, slot in enumerate(self.slots):
            with m.If(command.slot == i):
                m.d.sync += slot.count.eq(slot.count + 1)

    def _compact(self, m):
        """The entry of row scan - 1: freed, or written to the end of those that were kept."""
        entry = self.read_data
        fetched = Signal()  # `read_data` is that entry
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
        # Rows move down only, so the place that is written has been read already.
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
        """A slot's sentence is one layer further."""
        for i, slot in enumerate(self.slots):
            with m.If(command.slot == i):
                m.d.sync += slot.layer.eq(slot.layer + 1)
                self._show(m, i, slot.sentence, slot.layer + 1)
