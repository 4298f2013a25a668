# SPDX-License-Identifier: Apache-2.0
"""The result records of the resident sentences, laid out as firmware/record.py says."""

from amaranth import C, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.record import RECORD
from golden_model.config import NEVER
from hw.shapes import index

__all__ = ["RecordMemory", "Field", "field_layout"]

WORD = unsigned(32)
BYTES = WORD.width // 8


class Field(enum.Enum, shape=3):
    """What is written into a slot's record."""

    BEGIN = 0  # a new sentence with tag `data`: everything else is cleared, cycles and passes count from here
    WORD = 1  # word `index`
    LOGIT = 2  # of class `index`, 32 bits signed
    ENTROPY = 3  # of layer `index`
    TOKENS = 4  # of layer `index`: entering | after the drop << 16
    DROPPED = 5  # position `index` was dropped at layer `data`
    CYCLES = 6  # since BEGIN, `data` is ignored
    PASSES = 7  # since BEGIN, `data` is ignored


def field_layout(config):
    """One write: `index` is a word, class, layer or position."""
    return data.StructLayout(
        {"slot": index(config.slots), "field": Field, "index": 16, "data": WORD}
    )


class RecordMemory(wiring.Component):
    """One record of RECORD.words words for each slot.

    A write takes one cycle; BEGIN RECORD.words + 1, CYCLES and PASSES 4, during which `i` is not ready. A record is read as
    one word per cycle from 2 cycles after the request; it shows every write accepted before. Writes go on meanwhile, except
    that CYCLES and PASSES wait; `i_read` is not ready while one of the three long writes runs. Holds its output when stalled.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of field_layout)
    passes : In(32), passes since the queue's start; must not change with BEGIN
    i_read : In(stream of slot)
    o : Out(stream of {data: 32, last})
    """

    def __init__(self, config):
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(field_layout(config))),
                "passes": In(WORD),
                "i_read": In(stream.Signature(index(config.slots))),
                "o": Out(stream.Signature(data.StructLayout({"data": WORD, "last": 1}))),
            }
        )
        self._words = RECORD.words(config)
        self._word_bits = ceil_log2(self._words)
        address = unsigned(self._word_bits + index(config.slots).width)
        self._dropped = RECORD.word("DROPPED_AT_LAYER", config)
        self._now = Signal(WORD)
        self._slot = Signal(index(config.slots))
        self._word = Signal(self._word_bits)  # of a write that takes longer
        self._data = Signal(WORD)
        self._reading, self._readable = (
            Signal(),
            Signal(),
        )  # a record is on its way; one may be asked for
        self._write = Signal(data.StructLayout({"address": address, "data": WORD, "enable": BYTES}))
        self._stored = Signal(WORD)  # what CYCLES and PASSES read

    def elaborate(self, platform):
        m = Module()
        depth = self._config.slots << self._word_bits
        m.submodules.records = records = Memory(shape=WORD, depth=depth, init=[])
        read = records.read_port()
        write = records.write_port(granularity=8)
        m.d.sync += self._now.eq(self._now + 1)
        m.d.comb += [
            write.addr.eq(self._write.address),
            write.data.eq(self._write.data),
            write.en.eq(self._write.enable),
        ]
        self._read(m, read)
        with m.FSM():
            with m.State("Field"):  # most of them take one cycle
                self._accept(m)
            with m.State("Clear"):  # the whole record, one word per cycle
                self._clear(m)
            with m.State("Fetch"):  # the value at BEGIN
                m.next = "Stored"
            with m.State("Stored"):  # from the slow port of a block RAM
                m.d.sync += self._stored.eq(read.data)
                m.next = "Elapsed"
            with m.State("Elapsed"):  # the difference
                self._put(m, self._slot, self._word, self._data - self._stored)
                m.next = "Field"
        return m

    def _put(self, m, slot, word, value, enable=-1):
        m.d.comb += [
            self._write.address.eq(Cat(word[: self._word_bits], slot)),
            self._write.data.eq(value),
            self._write.enable.eq(enable),
        ]

    def _accept(self, m):
        field = self.i.payload
        late = Signal()
        number = field.index
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
                m.next = "Clear"
            with m.Case(Field.WORD):
                self._put(m, field.slot, number, field.data)
            with m.Case(Field.LOGIT):
                self._put(m, field.slot, RECORD.word("LOGITS") + number, field.data)
            with m.Case(Field.ENTROPY):
                self._put(m, field.slot, RECORD.word("ENTROPIES") + number, field.data)
            with m.Case(Field.TOKENS):
                first = RECORD.word("TOKENS_PER_LAYER", self._config)
                self._put(m, field.slot, first + number, field.data)
            with m.Case(Field.DROPPED):
                byte = C(1, BYTES) << number[:2]
                self._put(
                    m,
                    field.slot,
                    self._dropped + (number >> 2),
                    field.data[:8].replicate(BYTES),
                    byte,
                )
            with m.Case(Field.CYCLES):
                m.d.sync += [
                    self._word.eq(RECORD.word("CYCLES")),
                    self._data.eq(self._now),
                ]
                m.next = "Fetch"
            with m.Case(Field.PASSES):
                m.d.sync += [
                    self._word.eq(RECORD.word("PASSES")),
                    self._data.eq(self.passes),
                ]
                m.next = "Fetch"

    def _clear(self, m):
        word = self._word
        value = Signal(WORD)
        end = self._dropped + -(-self._config.positions // BYTES)
        with m.Switch(word):
            with m.Case(RECORD.word("TAG")):
                m.d.comb += value.eq(self._data)
            with m.Case(RECORD.word("CYCLES")):
                m.d.comb += value.eq(self._now - RECORD.word("CYCLES") - 1)
            with m.Case(RECORD.word("PASSES")):
                m.d.comb += value.eq(self.passes)
            with m.Default():
                m.d.comb += value.eq(
                    Mux((word >= self._dropped) & (word < end), C(NEVER, 8).replicate(BYTES), 0)
                )
        self._put(m, self._slot, word, value)
        m.d.sync += word.eq(word + 1)
        with m.If(word == self._words - 1):
            m.next = "Field"

    def _read(self, m, port):
        """The record of one slot; the read port follows CYCLES and PASSES otherwise."""
        slot = Signal.like(self.i_read.payload)
        word = Signal(self._word_bits + 1)
        more = word != self._words
        m.d.comb += [
            self.i_read.ready.eq(~self._reading & self._readable),
            port.addr.eq(
                Mux(self._reading, Cat(word[: self._word_bits], slot), Cat(self._word, self._slot))
            ),
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
