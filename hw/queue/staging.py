# SPDX-License-Identifier: Apache-2.0
"""The stager: queued sentences into physical rows ahead of ADMIT, beside the passes; bad ones are found here."""

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import DESCRIPTOR
from golden_model.hardware import ceil_div
from hw.instruction import instruction_layout
from hw.queue.embedding import feature_layout, token_layout
from hw.shapes import ACT, index, table_layout
from hw.stream import Fifo

__all__ = ["Staging", "sentence_layout", "shift_layout", "word_layout"]

READ = 1  # cycles from a state that reads to the request at the port
CHECK = 1  # from a descriptor's last word to its check
TOKENS = 1  # from the check to the state that reads the tokens
STAGED = 3  # from a sentence's last token until ADMIT sees that it is staged


def sentence_layout(config):
    """A sentence whose descriptor has been read; `rows` that it takes: `count`, or none when its length cannot be."""
    return data.StructLayout(
        {"tag": 32, "deadline": 32, "count": 16, "rows": index(config.positions + 1)}
    )


def word_layout(config):
    """A word of the residual stream."""
    return data.StructLayout({"address": 32, "values": data.ArrayLayout(ACT, config.tokens)})


def shift_layout():
    """See `Embedder`."""
    return data.StructLayout({name: signed(6) for name in ("word", "position", "segment")})


class Staging(wiring.Component):
    """Sentence after sentence: descriptor, check of its length, tokens; each token takes a free row, its embedding goes there.

    A sentence costs its descriptor's and its tokens' read, `CHECK` and `STAGED` cycles, and the embedding port's time for each token. Each token waits for a free row, and a
    sentence, once its descriptor is there, while `slots` others have not begun. Rows go to sentences in the order of the queue, so the next one that
    ADMIT waits for never lacks a row that a later one holds. What is read is taken at once.

    A token's features cannot be stalled, writes to the residual stream can: a row of words is held, and the token's end is taken when all of them
    are written; before that no feature of the next token comes (`Embedder`, stalled `o_done`).

    Members
    -------
    start, instruction : pulse, an ADMIT begins: the first one starts the queue and gives the shifts; a reset is a new queue
    queue, count, positions : address of the first descriptor, sentences, longest sentence of the model
    o_read, words : requests of 32-bit words {"address", "words"}, and the words
    i_free : stream of free rows
    o_token : stream to `Embedder`; feature (with _valid), token_done : its results; shifts : its shifts
    o_word : stream of `word_layout(config)`: a word of an embedding into its physical row
    o_sentence : stream of `sentence_layout(config)`, in the order of the queue
    o_row : stream of the physical rows of the sentences' tokens
    o_staged : stream of {"status", "detail"}: all of a sentence's rows are on `o_row` and written; detail: the first failing token
    resting : the embedder has no token
    embedded_valid, embedded : trace tap
    """

    def __init__(self, config):
        self.config = config
        row = index(config.physical_rows)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(instruction_layout()),
                "queue": In(32),
                "count": In(32),
                "positions": In(16),
                "o_read": Out(stream.Signature(data.StructLayout({"address": 32, "words": 16}))),
                "words": In(stream.Signature(32)),
                "i_free": In(stream.Signature(row)),
                "o_token": Out(stream.Signature(token_layout())),
                "feature_valid": In(1),
                "feature": In(feature_layout()),
                "token_done": In(stream.Signature(data.StructLayout({"row": 16, "status": 8}))),
                "shifts": Out(shift_layout()),
                "o_word": Out(stream.Signature(word_layout(config))),
                "o_sentence": Out(stream.Signature(sentence_layout(config))),
                "o_row": Out(stream.Signature(row)),
                "o_staged": Out(stream.Signature(data.StructLayout({"status": 8, "detail": 16}))),
                "resting": Out(1),
                "embedded_valid": Out(1),
                "embedded": Out(
                    data.StructLayout({"sentence": 32, "position": 16, "feature": 16, "value": ACT})
                ),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        op = self.instruction
        self._sentence = Signal(32)
        self._descriptor = Signal(table_layout(DESCRIPTOR))  # the one that is staged
        self._status = Signal(8)
        self._detail = Signal(16)
        self._asked, self._embedded = (
            Signal(16),
            Signal(16),
        )  # tokens given to the embedder; tokens it is done with
        m.submodules.sentences = self._sentences = Fifo(
            self.o_sentence.payload.shape(), config.slots
        )
        m.submodules.staged = self._staged = Fifo(self.o_staged.payload.shape(), config.slots)
        m.submodules.rows = self._rows = Fifo(index(config.physical_rows), config.physical_rows)
        m.submodules.tokens = self._tokens = Fifo(32, config.positions)
        for queue, o in (
            (self._sentences, self.o_sentence),
            (self._staged, self.o_staged),
            (self._rows, self.o_row),
        ):
            wiring.connect(m, queue.o, wiring.flipped(o))
        self._results(m)
        self._words(m)
        with m.FSM():
            with m.State("IDLE"):  # also when the whole queue is staged
                with m.If(self.start):
                    m.d.sync += [
                        self.shifts.word.eq(op.word_shift),
                        self.shifts.position.eq(op.position_shift),
                        self.shifts.segment.eq(op.segment_shift),
                    ]
                    m.next = "NEXT"
            self._describe(m)
            self._give(m)
        return m

    def _describe(self, m):
        """The next sentence's descriptor and the check of its length."""
        descriptor = self._descriptor
        size = DESCRIPTOR.words()
        word = Signal(range(size))
        sentence = self._sentences.i.payload
        with m.State("NEXT"):
            m.d.sync += [
                self._status.eq(Error.NONE),
                self._detail.eq(0),
                self._asked.eq(0),
                self._embedded.eq(0),
            ]
            with m.If(self._sentence == self.count):
                m.next = "IDLE"
            with m.Else():
                self._read(m, self.queue + 4 * size * self._sentence, size, "DESCRIPTOR")
        with m.State("DESCRIPTOR"):
            m.d.comb += self.words.ready.eq(1)
            with m.If(self.words.valid):
                m.d.sync += [
                    descriptor.eq(Cat(descriptor.as_value()[32:], self.words.payload)),
                    word.eq(word + 1),
                ]
                with m.If(word == size - 1):
                    m.next = "CHECK"
        with m.State("CHECK"):
            count = descriptor.count
            bad = (count == 0) | (count > self.positions)
            m.d.comb += [
                sentence.tag.eq(descriptor.tag),
                sentence.deadline.eq(descriptor.deadline),
                sentence.count.eq(count),
                sentence.rows.eq(Mux(bad, 0, count)),
                self._sentences.i.valid.eq(1),
            ]
            with m.If(self._sentences.i.ready):
                m.next = "TOKENS"
                with m.If(bad):
                    m.d.sync += self._status.eq(
                        Mux(count == 0, Error.SENTENCE_EMPTY, Error.SENTENCE_LENGTH)
                    )
                    m.next = "STAGED"
        with m.State("TOKENS"):
            self._read(m, descriptor.address, descriptor.count, "GIVE")

    def _give(self, m):
        """A row for each token; when all are embedded the sentence is staged."""
        tokens = self._tokens
        rows = self._rows
        length = self._descriptor.count[: len(self._embedded)]
        m.d.comb += [
            self.o_token.payload.token.eq(tokens.o.payload),
            self.o_token.payload.position.eq(self._asked),
            self.o_token.payload.row.eq(self.i_free.payload),
            rows.i.payload.eq(self.i_free.payload),
            self.resting.eq(self._asked == self._embedded),
        ]
        with m.State("GIVE"):
            given = self.o_token.valid & self.o_token.ready
            m.d.comb += [
                tokens.i.valid.eq(self.words.valid),
                tokens.i.payload.eq(self.words.payload),
                self.words.ready.eq(tokens.i.ready),
                self.o_token.valid.eq(tokens.o.valid & self.i_free.valid),
                tokens.o.ready.eq(given),
                self.i_free.ready.eq(given),
                rows.i.valid.eq(given),
            ]
            m.d.sync += self._asked.eq(self._asked + given)
            with m.If(self._embedded == length):
                m.next = "STAGED"
        with m.State("STAGED"):
            m.d.comb += [
                self._staged.i.valid.eq(1),
                self._staged.i.payload.status.eq(self._status),
                self._staged.i.payload.detail.eq(self._detail),
            ]
            with m.If(self._staged.i.ready):
                m.d.sync += self._sentence.eq(self._sentence + 1)
                m.next = "NEXT"

    def _read(self, m, address, words, following):
        m.d.comb += [
            self.o_read.valid.eq(1),
            self.o_read.payload.address.eq(address),
            self.o_read.payload.words.eq(words),
        ]
        with m.If(self.o_read.ready):
            m.next = following

    def _results(self, m):
        """Tokens end; the first one that fails is kept. Their features are shown."""
        feature = self.feature
        done = self.token_done.payload
        m.d.comb += [
            self.embedded_valid.eq(self.feature_valid),
            self.embedded.sentence.eq(self._sentence),
            self.embedded.position.eq(self._embedded),
            self.embedded.feature.eq(feature.feature),
            self.embedded.value.eq(feature.value),
        ]
        with m.If(self.token_done.valid & self.token_done.ready):
            m.d.sync += self._embedded.eq(self._embedded + 1)
            with m.If((done.status != Error.NONE) & (self._status == Error.NONE)):
                m.d.sync += [
                    self._status.eq(done.status),
                    self._detail.eq(self._embedded),
                ]

    def _words(self, m):
        """T features make a word, the row's last ones too; a token ends when its words have been written."""
        config = self.config
        feature = self.feature
        lane = Signal(range(config.tokens))
        block = Signal(16)
        address = Signal(32)
        values = Array(Signal(ACT, name=f"value_{i}") for i in range(config.tokens))
        complete = Signal()  # `values` are a word
        m.submodules.words = words = Fifo(
            self.o_word.payload.shape(), ceil_div(config.embedding, config.tokens)
        )
        wiring.connect(m, words.o, wiring.flipped(self.o_word))
        m.d.comb += [
            words.i.valid.eq(complete),
            words.i.payload.address.eq(address),
            *(words.i.payload.values[i].eq(value) for i, value in enumerate(values)),
            self.token_done.ready.eq(~self.feature_valid & ~complete & (words.level == 0)),
        ]
        m.d.sync += complete.eq(0)
        with m.If(self.feature_valid):
            last = (lane == config.tokens - 1) | feature.last
            m.d.sync += [
                values[lane].eq(feature.value),
                lane.eq(Mux(last, 0, lane + 1)),
                block.eq(block + last),
                complete.eq(last),
                address.eq(feature.row[: len(self.i_free.payload)] * config.row_words + block),
            ]
        with m.If(
            self.token_done.valid & self.token_done.ready
        ):  # a failed one may have ended anywhere
            m.d.sync += [
                lane.eq(0),
                block.eq(0),
            ]
