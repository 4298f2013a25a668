# SPDX-License-Identifier: Apache-2.0
"""ADMIT: queued sentences into free slots and rows, their embeddings into SUM; bad ones get their result at once."""
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.registers import Error
from hw.embedding import feature_layout, token_layout
from hw.instruction import fields
from hw.rows import Command, command_layout, slot_layout
from hw.shapes import ACT

__all__ = ["Admission"]

DESCRIPTOR_WORDS = 4  # token address, count, deadline, tag


class Admission(wiring.Component):
    """For each sentence while a slot and its whole length of rows are free: descriptor, checks, rows, embeddings.

    A sentence costs its descriptor's and its tokens' read, and the embedding port's time for each token. A sentence that is empty, too long, or
    has a bad token is given back through `o_finish` with its status, and the next one follows.

    Members
    -------
    start, instruction, slots, done : as `Linear`; `empty` with done: no slot is resident
    restart : pulse, a new queue
    queue, count, slot_limit, positions : address of the first descriptor, sentences, slots that may be used, longest sentence of the model
    free, total : of the row table
    o_read, words : requests of 32-bit words {"address", "words"}, and the words
    o_rows, rows_done : commands to the row table
    o_token : stream to `Embedder`; feature (with _valid), token_done : its results
    embed_valid, embed : see `Datapath`
    embedded_valid, embedded : trace tap
    o_begin : stream {"slot", "sentence", "tag", "deadline", "count"}: a slot starts a sentence
    o_finish : stream {"slot", "status", "detail"}: a sentence failed; its rows have been released
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "restart": In(1), "instruction": In(256), "done": Out(1), "empty": Out(1),
            "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
            "queue": In(32), "count": In(32), "slot_limit": In(8), "positions": In(16), "free": In(16), "total": In(16),
            "o_read": Out(stream.Signature(data.StructLayout({"address": 32, "words": 16}))),
            "words": In(stream.Signature(32)),
            "o_rows": Out(stream.Signature(command_layout(config))), "rows_done": In(1),
            "o_token": Out(stream.Signature(token_layout())), "feature_valid": In(1), "feature": In(feature_layout()),
            "token_done": In(stream.Signature(data.StructLayout({"row": 16, "status": 8}))),
            "embed_valid": Out(1), "embed": Out(data.StructLayout({"address": 24, "lane": 8, "value": ACT})),
            "embedded_valid": Out(1), "embedded": Out(data.StructLayout({"row": 16, "feature": 16, "value": ACT})),
            "o_begin": Out(stream.Signature(data.StructLayout(
                {"slot": 8, "sentence": 32, "tag": 32, "deadline": 32, "count": 16}))),
            "o_finish": Out(stream.Signature(data.StructLayout({"slot": 8, "status": 8, "detail": 16}))),
        })

    def elaborate(self, platform):
        m = Module()
        op = fields(self.instruction)
        self._sentence, self._held = Signal(32), Signal()     # next of the queue; its descriptor has been read
        self._descriptor = Signal(32 * DESCRIPTOR_WORDS)
        self._slot, self._status, self._detail = Signal(8), Signal(8), Signal(16)
        self._asked, self._embedded = Signal(16), Signal(16)  # tokens given to the embedder; tokens it is done with
        self._tile, self._lane = Signal(16), Signal(16)       # where the sentence's next embedded row is
        resident = Cat(self.slots[i].resident for i in range(self.config.slots))
        self._embeddings(m, op)
        with m.If(self.restart):
            m.d.sync += [self._sentence.eq(0), self._held.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.next = "SETTLE"
                    self._rows(m, Command.SETTLE, "SEEK")
            with m.State("SETTLE"):  # the row table was busy when the operation started
                self._rows(m, Command.SETTLE, "SEEK")
            self._seek(m, resident)
            self._check(m, resident)
            self._tokens(m)
            self._end(m)
        return m

    def _seek(self, m, resident):
        """The next sentence of the queue, while a slot is free: its descriptor."""
        word = Signal(range(DESCRIPTOR_WORDS))
        with m.State("SEEK"):
            self._free_slot(m)
            with m.If((self._sentence == self.count) | (sum(resident) >= self.slot_limit)):
                m.d.comb += [self.done.eq(1), self.empty.eq(resident == 0)]
                m.next = "IDLE"
            with m.Elif(self._held):
                m.next = "CHECK"
            with m.Else():
                self._read(m, self.queue + 4 * DESCRIPTOR_WORDS * self._sentence, DESCRIPTOR_WORDS, "DESCRIPTOR")
        with m.State("DESCRIPTOR"):
            m.d.comb += self.words.ready.eq(1)
            with m.If(self.words.valid):
                m.d.sync += [self._descriptor.eq(Cat(self._descriptor[32:], self.words.payload)), word.eq(word + 1)]
                with m.If(word == DESCRIPTOR_WORDS - 1):
                    m.d.sync += self._held.eq(1)
                    m.next = "CHECK"

    def _check(self, m, resident):
        """Its length; a bad one begins too, so that its record has its tag."""
        with m.State("CHECK"):
            count = self._descriptor[32:64]
            m.d.sync += [self._status.eq(Error.NONE), self._detail.eq(0), self._asked.eq(0), self._embedded.eq(0),
                         self._tile.eq(0), self._lane.eq(self.total)]
            m.next = "BEGIN"
            with m.If(count == 0):
                m.d.sync += self._status.eq(Error.SENTENCE_EMPTY)
            with m.Elif(count > self.positions):
                m.d.sync += self._status.eq(Error.SENTENCE_LENGTH)
            with m.Elif(count > self.free):
                m.d.comb += [self.done.eq(1), self.empty.eq(resident == 0)]
                m.next = "IDLE"
        with m.State("BEGIN"):
            m.d.comb += self.o_begin.valid.eq(1)
            with m.If(self.o_begin.ready):
                m.d.sync += [self._held.eq(0), self._sentence.eq(self._sentence + 1)]
                m.next = "PLACE"
                with m.If(self._status != Error.NONE):
                    m.next = "FINISH"

    def _tokens(self, m):
        """Its slot, and for each token a row and its embedding."""
        address, length = self._descriptor[:32], self._descriptor[32:48]
        with m.State("PLACE"):  # tile and lane of the first free logical row
            with m.If(self._lane >= self.config.tokens):
                m.d.sync += [self._lane.eq(self._lane - self.config.tokens), self._tile.eq(self._tile + 1)]
            with m.Else():
                self._rows(m, Command.ADMIT, "TOKENS")
        with m.State("TOKENS"):
            self._read(m, address, length, "TOKEN")
        with m.State("TOKEN"):
            m.d.comb += [self.o_token.valid.eq(self.words.valid)]
            with m.If(self.words.valid & self.o_token.ready):
                m.next = "ALLOCATE"
            with m.If(self._asked == length):
                m.d.comb += self.o_token.valid.eq(0)
                m.next = "EMBED"
        with m.State("ALLOCATE"):
            m.d.comb += self.words.ready.eq(self.o_rows.ready)
            self._rows(m, Command.ALLOCATE, "ALLOCATED")
        with m.State("ALLOCATED"):
            with m.If(self.rows_done):
                m.d.sync += self._asked.eq(self._asked + 1)
                m.next = "TOKEN"

    def _end(self, m):
        """When all are embedded: the next sentence, or its failure."""
        length = self._descriptor[32:48]
        with m.State("EMBED"):
            with m.If(self._embedded == length):
                m.next = "SEEK"
                with m.If(self._status != Error.NONE):
                    m.next = "RELEASE"
        with m.State("RELEASE"):
            self._rows(m, Command.COMPACT, "RELEASED")
        with m.State("RELEASED"):
            with m.If(self.rows_done):
                m.next = "FINISH"
        with m.State("FINISH"):
            m.d.comb += self.o_finish.valid.eq(1)
            with m.If(self.o_finish.ready):
                m.next = "SEEK"

    def _free_slot(self, m):
        for i in reversed(range(self.config.slots)):
            with m.If(~self.slots[i].resident):
                m.d.sync += self._slot.eq(i)

    def _rows(self, m, command, following):
        m.d.comb += [
            self.o_rows.valid.eq(1), self.o_rows.payload.command.eq(command), self.o_rows.payload.slot.eq(self._slot),
            self.o_rows.payload.sentence.eq(self._sentence - 1), self.o_rows.payload.position.eq(self._asked),
            self.o_rows.payload.release.eq(Mux(command == Command.COMPACT, 1 << self._slot, 0)),
        ]
        with m.If(self.o_rows.ready):
            m.next = following

    def _read(self, m, address, words, following):
        m.d.comb += [self.o_read.valid.eq(1), self.o_read.payload.address.eq(address), self.o_read.payload.words.eq(words)]
        with m.If(self.o_read.ready):
            m.next = following

    def _embeddings(self, m, op):
        """Features go to their tile and lane; a token's end moves on to the next lane, its failure is kept."""
        feature, done = self.feature, self.token_done.payload
        m.d.comb += [
            self.o_token.payload.token.eq(self.words.payload), self.o_token.payload.position.eq(self._asked),
            self.o_token.payload.row.eq(self.total),
            self.token_done.ready.eq(1), self.embed_valid.eq(self.feature_valid), self.embed.lane.eq(self._lane), self.embed.value.eq(feature.value),
            self.embed.address.eq(self._tile * op.reduction + feature.feature),
            self.embedded_valid.eq(self.feature_valid), self.embedded.row.eq(feature.row),
            self.embedded.feature.eq(feature.feature), self.embedded.value.eq(feature.value),
            self.o_begin.payload.slot.eq(self._slot), self.o_begin.payload.sentence.eq(self._sentence),
            self.o_begin.payload.count.eq(self._descriptor[32:48]),
            self.o_begin.payload.deadline.eq(self._descriptor[64:96]), self.o_begin.payload.tag.eq(self._descriptor[96:]),
            self.o_finish.payload.slot.eq(self._slot), self.o_finish.payload.status.eq(self._status),
            self.o_finish.payload.detail.eq(self._detail),
        ]
        with m.If(self.token_done.valid):
            m.d.sync += self._embedded.eq(self._embedded + 1)
            with m.If(self._lane == self.config.tokens - 1):
                m.d.sync += [self._lane.eq(0), self._tile.eq(self._tile + 1)]
            with m.Else():
                m.d.sync += self._lane.eq(self._lane + 1)
            with m.If((done.status != Error.NONE) & (self._status == Error.NONE)):
                m.d.sync += [self._status.eq(done.status), self._detail.eq(self._embedded)]
