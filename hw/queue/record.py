# SPDX-License-Identifier: Apache-2.0
"""The result records of the resident sentences, laid out as firmware/record.py says."""

from amaranth import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.record import RECORD
from golden_model.config import NEVER
from golden_model.hardware import ceil_div
from hw.shapes import BYTE, PASSES, RECORD_FIELD, RECORD_INDEX, WORD, index

__all__ = ["Field", "RecordMemory", "field_layout"]

BYTES = WORD.width // BYTE.width


class Field(enum.Enum, shape=RECORD_FIELD):
    """What is written into a slot's record."""

    # A new sentence with tag `data`: all else is cleared, cycles and passes count from here.
    BEGIN = 0
    # Word `index`.
    WORD = 1
    # Of class `index`, 32 bits signed.
    LOGIT = 2
    # Of layer `index`.
    ENTROPY = 3
    # Of layer `index`: those that enter, those that its drop leaves << 16.
    TOKENS = 4
    # Position `index` was dropped at layer `data`.
    DROPPED = 5
    # Since BEGIN; `data` is ignored.
    CYCLES = 6
    # Since BEGIN; `data` is ignored.
    PASSES = 7


def field_layout(config):
    """One write: `index` is a word, class, layer or position."""
    return data.StructLayout(
        {"slot": index(config.slots), "field": Field, "index": RECORD_INDEX, "data": WORD}
    )


class RecordMemory(wiring.Component):
    """One record of RECORD.words words for each slot.

    Latency: a record's first word comes 2 cycles after the request and shows every write accepted
    before. Throughput: a word per cycle; a write per cycle, but BEGIN takes RECORD.words + 1,
    CYCLES and PASSES 4, during which `i` is not ready. Writes go on while a record is read, except
    that CYCLES and PASSES wait; `i_read` is not ready while one of the three long writes runs.
    Stalled: `o` holds its word.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of field_layout)
    passes : In(PASSES), since the queue's start; must not change with BEGIN
    i_read : In(stream of slot)
    o : Out(stream of {data: WORD, last})
    """

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(field_layout(config))),
                "passes": In(PASSES),
                "i_read": In(stream.Signature(index(config.slots))),
                "o": Out(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
            }
        )
        self._words = RECORD.words(config)
        self._word_bits = ceil_log2(self._words)
        self._dropped = RECORD.word("DROPPED_AT_LAYER", config)
        self._now = Signal(WORD)
        # Of a write that takes longer.
        self._slot = Signal(index(config.slots))
        self._word = Signal(self._word_bits)
        self._data = Signal(WORD)
        self._stored = Signal(WORD)  # the value at BEGIN, which CYCLES and PASSES read
        self._reading = Signal()  # a record is on its way
        self._readable = Signal()  # one may be asked for
        # The memory has one write port; whoever writes in a cycle drives this.
        address = unsigned(self._word_bits + index(config.slots).width)
        self._write = Signal(data.StructLayout({"address": address, "data": WORD, "enable": BYTES}))

    def elaborate(self, platform):
        m = Module()
        # Records begin at powers of two: an address is slot and word side by side, no product.
        depth = self.config.slots << self._word_bits
        m.submodules.records = records = Memory(shape=WORD, depth=depth, init=[])
        read = records.read_port()
        write = records.write_port(granularity=BYTE.width)
        m.d.sync += self._now.eq(self._now + 1)
        m.d.comb += [
            write.addr.eq(self._write.address),
            write.data.eq(self._write.data),
            write.en.eq(self._write.enable),
        ]
        self._read(m, read)
        with m.FSM():
            # Takes writes; most of them need one cycle.
            with m.State("FIELD"):
                self._accept(m)
            # BEGIN: the whole record, a word a cycle.
            with m.State("CLEAR"):
                self._clear(m)
            # CYCLES or PASSES: the address of the value at BEGIN is at the read port.
            with m.State("FETCH"):
                m.next = "STORED"
            # The value goes into a register: a block RAM's output is too slow to subtract it.
            with m.State("STORED"):
                m.d.sync += self._stored.eq(read.data)
                m.next = "ELAPSED"
            # The difference replaces it.
            with m.State("ELAPSED"):
                self._put(m, self._slot, self._word, self._data - self._stored)
                m.next = "FIELD"
        return m

    def _put(self, m, slot, word, value, enable=-1):
        m.d.comb += [
            self._write.address.eq(Cat(word[: self._word_bits], slot)),
            self._write.data.eq(value),
            self._write.enable.eq(enable),
        ]

    def _accept(self, m):
        """One write: done at once, or the beginning of a longer one."""
        field = self.i.payload
        late = Signal()
        # CYCLES and PASSES need the read port, so each of them and a record's way out wait for the
        # other one's end.
        m.d.comb += [
            late.eq((field.field == Field.CYCLES) | (field.field == Field.PASSES)),
            self.i.ready.eq(~(late & self._reading)),
            self._readable.eq(~(late & self.i.valid)),
        ]
        with m.If(self.i.valid):
            m.d.sync += [
                self._slot.eq(field.slot),
                self._word.eq(0),
                self._data.eq(field.data),
            ]
        with m.If(self.i.valid & self.i.ready), m.Switch(field.field):
            with m.Case(Field.BEGIN):
                m.next = "CLEAR"
            with m.Case(Field.WORD):
                self._put(m, field.slot, field.index, field.data)
            self._arrays(m, field)
            with m.Case(Field.DROPPED):
                # Positions are bytes: a strobe spares reading the word that four of them share.
                self._put(
                    m,
                    field.slot,
                    self._dropped + (field.index >> 2),
                    field.data[: BYTE.width].replicate(BYTES),
                    C(1, BYTES) << field.index[:2],
                )
            for case, value in ((Field.CYCLES, self._now), (Field.PASSES, self.passes)):
                with m.Case(case):
                    m.d.sync += [
                        self._word.eq(RECORD.word(case.name)),
                        self._data.eq(value),
                    ]
                    m.next = "FETCH"

    def _arrays(self, m, field):
        """Cases of `field` that write an element of a whole word to one of the arrays."""
        for case, first in (
            (Field.LOGIT, RECORD.word("LOGITS")),
            (Field.ENTROPY, RECORD.word("ENTROPIES")),
            (Field.TOKENS, RECORD.word("TOKENS_PER_LAYER", self.config)),
        ):
            with m.Case(case):
                self._put(m, field.slot, first + field.index, field.data)

    def _clear(self, m):
        """Word after word of a new sentence's record, from the tag that BEGIN brought."""
        word = self._word
        value = Signal(WORD)
        end = self._dropped + ceil_div(self.config.positions, BYTES)
        # Until the end the record's own words keep what cycles and passes were at BEGIN: no slot
        # needs counters. Word n is written n + 1 cycles after BEGIN was taken.
        with m.Switch(word):
            with m.Case(RECORD.word("TAG")):
                m.d.comb += value.eq(self._data)
            with m.Case(RECORD.word("CYCLES")):
                m.d.comb += value.eq(self._now - RECORD.word("CYCLES") - 1)
            with m.Case(RECORD.word("PASSES")):
                m.d.comb += value.eq(self.passes)
            with m.Default():
                never = C(NEVER, BYTE).replicate(BYTES)
                m.d.comb += value.eq(Mux((word >= self._dropped) & (word < end), never, 0))
        self._put(m, self._slot, word, value)
        m.d.sync += word.eq(word + 1)
        with m.If(word == self._words - 1):
            m.next = "FIELD"

    def _read(self, m, port):
        """The record of one slot; the read port follows CYCLES and PASSES otherwise."""
        slot = Signal.like(self.i_read.payload)
        word = Signal(self._word_bits + 1)
        more = word != self._words
        asked = Cat(word[: self._word_bits], slot)
        # The port stands still with `o`, so the word that it holds is the stalled one.
        m.d.comb += [
            self.i_read.ready.eq(~self._reading & self._readable),
            port.addr.eq(Mux(self._reading, asked, Cat(self._word, self._slot))),
            port.en.eq(~self.o.valid | self.o.ready),
            self.o.payload.data.eq(port.data),
            self.o.payload.last.eq(~more),
        ]
        with m.If(~self._reading):
            m.d.sync += [
                slot.eq(self.i_read.payload),
                word.eq(0),
                self._reading.eq(self.i_read.valid & self._readable),
            ]
        with m.Elif(port.en):
            m.d.sync += [
                self.o.valid.eq(more),
                word.eq(word + more),
                self._reading.eq(more),
            ]
