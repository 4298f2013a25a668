# SPDX-License-Identifier: Apache-2.0
"""The stager: queued sentences into physical rows ahead of ADMIT, beside the passes.

Sentences whose length cannot be, and tokens that the embedder refuses, are found here.
"""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from firmware.record import DESCRIPTOR
from golden_model.hardware import ceil_div
from hw.instruction import instruction_layout
from hw.queue.embedding import token_layout
from hw.queue.embedding_sum import feature_layout
from hw.shapes import (
    ACT,
    ADDRESS,
    BYTE,
    CYCLES,
    DETAIL,
    EMBEDDING_SHIFT,
    ERROR,
    FEATURE,
    LENGTH,
    POINTER,
    POSITION,
    ROW,
    SENTENCE,
    TAG,
    WIDE_COUNT,
    WORD,
    WORDS,
    index,
    table_layout,
    tile_values,
)
from hw.stream import Fifo

__all__ = ["Staging", "sentence_layout", "shift_layout", "residual_layout"]

READ = 1  # cycles from a state that reads to the request at the port
CHECK = 1  # from a descriptor's last word to its check
TOKENS = 1  # from the check to the state that reads the tokens
STAGED = 3  # from a sentence's last token until ADMIT sees that it is staged


def sentence_layout(config):
    """A sentence whose descriptor has been read.

    rows : how many it takes: `count`, or none when its length cannot be
    """
    return data.StructLayout(
        {"tag": TAG, "deadline": CYCLES, "count": LENGTH, "rows": index(config.positions + 1)}
    )


def residual_layout(config):
    """A word of the residual stream: its address there, and T features of a physical row."""
    return data.StructLayout({"address": POINTER, "values": tile_values(config)})


def shift_layout():
    """By how much a decoded code of each table is shifted, see `Embedder`."""
    return data.StructLayout(dict.fromkeys(("word", "position", "segment"), EMBEDDING_SHIFT))


class Staging(wiring.Component):
    """Sentence after sentence: its descriptor, the check of its length, a row for each token.

    Each token takes a free physical row, and its embedding goes there. Rows go to sentences in the
    order of the queue, so the next one that ADMIT waits for never lacks a row that a later one
    holds.

    A sentence costs the reads of its descriptor and of its tokens, `READ` + `CHECK` + `TOKENS` +
    `READ` + `STAGED` cycles, and what its tokens take in `Embedder`. Stalled: each token waits for
    a free row, and a sentence, once its descriptor is there, while `slots` others have not begun.
    What is read is taken at once. A token's features cannot be stalled, writes to the residual
    stream can: a row of words is held, and `token_done` is taken when all of them are written;
    before that `Embedder` gives no feature of the next token.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start : In(1), pulse: an ADMIT begins. The first one starts the queue and gives the shifts; a
        new queue needs a reset
    instruction : In(instruction_layout()), the ADMIT
    queue : In(ADDRESS), of the first descriptor
    count : In(WIDE_COUNT), sentences of the queue
    positions : In(POSITION), tokens of the longest sentence of the model
    o_read : Out(stream of {address: ADDRESS, words: WORDS}), a run of 32-bit words
    words : In(stream of WORD), these words, and none that were not asked for
    i_free : In(stream of physical rows), free ones
    o_token : Out(stream of token_layout()), to `Embedder`
    feature_valid : In(1)
    feature : In(feature_layout()), of the embedding
    token_done : In(stream of {row: ROW, status: ERROR}), see `Embedder`; once for each token
    shifts : Out(shift_layout()), of the model
    o_word : Out(stream of word_layout(config)), of an embedding into its physical row
    o_sentence : Out(stream of sentence_layout(config)), in the order of the queue
    o_row : Out(stream of physical rows), those of the sentences' tokens
    o_staged : Out(stream of {status: ERROR, detail: DETAIL}): all of a sentence's rows are on
        `o_row` and written; `detail` is the first failing token's position
    resting : Out(1), the embedder has no token
    embedded_valid : Out(1), trace tap
    embedded : Out({sentence: SENTENCE, position, feature, value: ACT}), trace tap
    """

    def __init__(self, config):
        self.config = config
        row = index(config.physical_rows)
        read = data.StructLayout({"address": ADDRESS, "words": WORDS})
        staged = data.StructLayout({"status": ERROR, "detail": DETAIL})
        embedded = {"sentence": SENTENCE, "position": POSITION, "feature": FEATURE, "value": ACT}
        super().__init__(
            {
                "start": In(1),
                "instruction": In(instruction_layout()),
                "queue": In(ADDRESS),
                "count": In(WIDE_COUNT),
                "positions": In(POSITION),
                "o_read": Out(stream.Signature(read)),
                "words": In(stream.Signature(WORD)),
                "i_free": In(stream.Signature(row)),
                "o_token": Out(stream.Signature(token_layout())),
                "feature_valid": In(1),
                "feature": In(feature_layout()),
                "token_done": In(
                    stream.Signature(data.StructLayout({"row": ROW, "status": ERROR}))
                ),
                "shifts": Out(shift_layout()),
                "o_word": Out(stream.Signature(residual_layout(config))),
                "o_sentence": Out(stream.Signature(sentence_layout(config))),
                "o_row": Out(stream.Signature(row)),
                "o_staged": Out(stream.Signature(staged)),
                "resting": Out(1),
                "embedded_valid": Out(1),
                "embedded": Out(data.StructLayout(embedded)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        op = self.instruction
        self._sentence = Signal(SENTENCE)
        self._descriptor = Signal(table_layout(DESCRIPTOR))  # the one that is staged
        self._status = Signal(ERROR)  # of its sentence: the first error
        self._detail = Signal(DETAIL)
        self._asked = Signal(LENGTH)  # tokens given to the embedder
        self._embedded = Signal(LENGTH)  # tokens that it is done with
        m.submodules.sentences = self._sentences = Fifo(
            self.o_sentence.payload.shape(), config.slots
        )
        m.submodules.staged = self._staged = Fifo(self.o_staged.payload.shape(), config.slots)
        # As deep as there are rows: it never refuses one.
        m.submodules.rows = self._rows = Fifo(index(config.physical_rows), config.physical_rows)
        # As deep as a sentence is long: tokens that wait for rows must not keep the memory port,
        # whose words come in the order in which they were asked for, from weights and program.
        m.submodules.tokens = self._tokens = Fifo(WORD, config.positions)
        for queue, o in (
            (self._sentences, self.o_sentence),
            (self._staged, self.o_staged),
            (self._rows, self.o_row),
        ):
            wiring.connect(m, queue.o, wiring.flipped(o))
        self._results(m)
        self._words(m)
        with m.FSM():
            # No ADMIT yet, or the whole queue is staged.
            with m.State("IDLE"):
                with m.If(self.start):
                    # Kept, because sentences are staged long after their first ADMIT.
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
        size_bytes = size * WORD.width // BYTE.width
        word = Signal(range(size))
        sentence = self._sentences.i.payload
        # The next sentence's descriptor is asked for.
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
                self._read(m, self.queue + size_bytes * self._sentence, size, "DESCRIPTOR")
        # Its words come.
        with m.State("DESCRIPTOR"):
            m.d.comb += self.words.ready.eq(1)
            with m.If(self.words.valid):
                # Shifted in from above, so that the first word ends up lowest.
                m.d.sync += [
                    descriptor.eq(Cat(descriptor.as_value()[WORD.width :], self.words.payload)),
                    word.eq(word + 1),
                ]
                with m.If(word == size - 1):
                    m.next = "CHECK"
        # ADMIT is told of it; waits while `slots` sentences have not begun.
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
                # A bad one fails alone: it goes the way of all others, but without rows.
                with m.If(bad):
                    m.d.sync += self._status.eq(
                        Mux(count == 0, Error.SENTENCE_EMPTY, Error.SENTENCE_LENGTH)
                    )
                    m.next = "STAGED"
        # Its tokens are asked for.
        with m.State("TOKENS"):
            self._read(m, descriptor.address, descriptor.count, "GIVE")

    def _give(self, m):
        """A row for each token; when all are embedded the sentence is staged."""
        tokens = self._tokens
        rows = self._rows
        # The check has seen that the upper bits are 0.
        length = self._descriptor.count[: len(self._embedded)]
        m.d.comb += [
            self.o_token.payload.token.eq(tokens.o.payload),
            self.o_token.payload.position.eq(self._asked),
            self.o_token.payload.row.eq(self.i_free.payload),
            rows.i.payload.eq(self.i_free.payload),
            self.resting.eq(self._asked == self._embedded),
        ]
        # Tokens come and go to the embedder, each when a row is free.
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
        # All rows are written: ADMIT may have them.
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
        """Asks for `words` 32-bit words, and goes on to the state `following`."""
        m.d.comb += [
            self.o_read.valid.eq(1),
            self.o_read.payload.address.eq(address),
            self.o_read.payload.words.eq(words),
        ]
        with m.If(self.o_read.ready):
            m.next = following

    def _results(self, m):
        """Tokens end; the first one that fails is kept. Their features go to the trace."""
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
        """T features make a word, the row's last ones too; words go to the residual stream."""
        config = self.config
        feature = self.feature
        lane = Signal(range(config.tokens))
        block = Signal(WORDS)  # of the row, before this one
        address = Signal(POINTER)
        values = Array(Signal(ACT, name=f"value_{i}") for i in range(config.tokens))
        complete = Signal()  # `values` are a word
        # Holds a whole row, since the embedder cannot be stalled within one.
        m.submodules.words = words = Fifo(
            self.o_word.payload.shape(), ceil_div(config.embedding, config.tokens)
        )
        wiring.connect(m, words.o, wiring.flipped(self.o_word))
        m.d.comb += [
            words.i.valid.eq(complete),
            words.i.payload.address.eq(address),
            *(words.i.payload.values[i].eq(value) for i, value in enumerate(values)),
            # Not before all is written: then the sentence is staged with its last token.
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
        # A failed token may have ended anywhere: the next one begins a word all the same.
        with m.If(self.token_done.valid & self.token_done.ready):
            m.d.sync += [
                lane.eq(0),
                block.eq(0),
            ]
