# SPDX-License-Identifier: Apache-2.0
"""One row of the embedding image: found through the row table, decoded from its bitmask, checked."""
from amaranth import Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.crc.catalog import CRC8_SMBUS
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.registers import Error
from golden_model.bitmask import WORD_ROWS
from hw.dma import Words, bus_word, request
from hw.loader import embedding_layout
from hw.shapes import code
from hw.transfer import ERROR

__all__ = ["RowReader", "longest_row"]

OFFSET_BYTES = 4  # of a row table entry, and what rows are padded to


def longest_row(features):
    """Bytes of a row without a zero: masks, codes, check byte, padded."""
    size = -(-features // WORD_ROWS) * 2 + features + 1
    return -(-size // OFFSET_BYTES) * OFFSET_BYTES


class RowReader(wiring.Component):
    """Reads row `number` of the embedding image: its two offsets in the row table, then its bytes.

    Costs two latencies of the port and about 9/8 cycles a feature: one for each, two for each mask word. All features come, in order.
    The table is not covered by a check that the hardware makes, so a row that lies outside the image, is empty, too long, not aligned or
    ends before its last feature counts as a failed check, as a wrong check byte does (if the config has "embedding_check").
    After a failure the reader of the port must be aborted.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, number : pulse with the row's number
    base, size, table : the embedding image and its `embedding_layout()`, quasi-static
    o_request, i_data, i_error : to a `Reader` of the embedding port, its data and its `error`
    code_valid, feature, code : one feature; cannot be stalled
    done, status : pulse at the end, and 0, SENTENCE_CHECK or EMBEDDING_BUS
    """

    def __init__(self, config):
        self._config = config
        self._check = "embedding_check" in config.units
        super().__init__({
            "start": In(1), "number": In(32), "base": In(32), "size": In(32), "table": In(embedding_layout()),
            "o_request": Out(stream.Signature(request())), "i_data": In(stream.Signature(bus_word(config))), "i_error": In(ERROR),
            "code_valid": Out(1), "feature": Out(16), "code": Out(code(config)), "done": Out(1), "status": Out(ERROR),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = self._words = Words(self._config)
        wiring.connect(m, self._words.i, wiring.flipped(self.i_data))
        self._shift = ceil_log2(self._config.bus_bytes)
        self._skip = Signal(range(max(2, self._config.bus_bytes // 4)))  # 32-bit words before the first one that is wanted
        self._begin, self._end = Signal(32), Signal(32)  # of the bytes wanted
        self._address, self._count = Signal(32), Signal(32)  # bus words that hold them
        self._bytes(m)
        self._features(m)
        m.d.comb += self._words.clear.eq(self.start)
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += self._end.eq(self.base + self.table.table_offset)
                with m.If(self.start):
                    m.d.sync += [self.status.eq(Error.NONE), self._begin.eq(self.number * OFFSET_BYTES)]
                    m.next = "Entry"
            self._look_up(m)
            self._decode(m)
            with m.State("Finish"):
                m.d.comb += self.done.eq(1)
                m.next = "Idle"
        return m

    def _fail(self, m, error):
        m.d.sync += self.status.eq(error)
        m.next = "Finish"

    def _guard(self, m):
        """A reader's error ends the row."""
        with m.If(self.i_error != 0):
            self._fail(m, Mux(self.i_error == Error.WINDOW, Error.SENTENCE_CHECK, Error.EMBEDDING_BUS))

    def _ask(self, m, state, following):
        """States that request the bus words which hold the bytes from `_begin` to before `_end`."""
        asked, step = self.o_request, self._config.bus_bytes
        with m.State(state):
            first = self._begin[self._shift:]
            m.d.sync += [self._address.eq(first << self._shift), self._skip.eq(self._begin[2:self._shift]),
                         self._count.eq(((self._end + step - 1) >> self._shift) - first)]
            m.next = f"{state}, request"
        with m.State(f"{state}, request"):
            m.d.comb += [asked.valid.eq(1), asked.payload.address.eq(self._address), asked.payload.words.eq(self._count),
                         asked.payload.base.eq(self.base), asked.payload.size.eq(self.size)]
            with m.If(asked.ready):
                m.next = following

    def _look_up(self, m):
        """States from the row's number to its first and last address."""
        word, taken, length = self._words.o, Signal(2), Signal(33)
        m.d.comb += length.eq(self._end - self._begin)
        with m.State("Entry"):  # of this row and of the next one
            m.d.sync += [self._begin.eq(self._end + self._begin), self._end.eq(self._end + self._begin + 2 * OFFSET_BYTES), taken.eq(0)]
            m.next = "Ask table"
        self._ask(m, "Ask table", "Table")
        with m.State("Table"):
            m.d.comb += word.ready.eq(1)
            with m.If(word.valid):
                with m.If(self._skip != 0):
                    m.d.sync += self._skip.eq(self._skip - 1)
                with m.Elif(~taken[1]):
                    m.d.sync += [self._begin.eq(self._end), self._end.eq(word.payload.data), taken.eq(taken + 1)]
                with m.If(word.payload.last):
                    m.next = "Plausible"
            self._guard(m)
        with m.State("Plausible"):
            m.d.sync += [self._left.eq(length), self._begin.eq(self.base + self._begin), self._end.eq(self.base + self._end)]
            m.next = "Ask row"
            with m.If((length > longest_row(self._config.embedding)) | (length == 0) | ((self._begin | self._end)[:2] != 0)
                      | (self._end > self.size)):
                self._fail(m, Error.SENTENCE_CHECK)
        self._ask(m, "Ask row", "Skip")
        with m.State("Skip"):
            m.d.comb += word.ready.eq(self._skip != 0)
            with m.If(self._skip == 0):
                m.next = "Mask low"
            with m.Elif(word.valid):
                m.d.sync += self._skip.eq(self._skip - 1)
            self._guard(m)

    def _bytes(self, m):
        """The splitter's words byte by byte: in a cycle with `_want`, `_taken` or, past the row's end, `_missing`."""
        word, lane = self._words.o, Signal(2)
        self._left = Signal(range(longest_row(self._config.embedding) + 1))
        self._want, self._taken, self._missing, self._byte, self._last = Signal(), Signal(), Signal(), Signal(8), Signal()
        m.d.comb += [
            self._byte.eq(word.payload.data.word_select(lane, 8)), self._missing.eq(self._want & (self._left == 0)),
            self._taken.eq(self._want & word.valid & (self._left != 0)),
        ]
        with m.If(self._taken):
            m.d.comb += word.ready.eq(lane == 3)
            m.d.sync += [lane.eq(lane + 1), self._left.eq(self._left - 1), self._last.eq(word.payload.last & (lane == 3))]
        with m.If(self.start):
            m.d.sync += [lane.eq(0), self._last.eq(0)]

    def _features(self, m):
        """The register behind the decoder, and what its states work on."""
        self._feature, self._mask, self._decoded = Signal(16), Signal(WORD_ROWS), Signal()
        m.submodules.crc = self._crc = crc.Parameters(CRC8_SMBUS, 8).create()
        m.d.comb += [self._crc.data.eq(self._byte), self._crc.start.eq(self.start)]
        m.d.sync += [self.code_valid.eq(self._decoded), self.feature.eq(self._feature), self.code.eq(Mux(self._mask[0], self._byte, 0))]
        with m.If(self.start):
            m.d.sync += self._feature.eq(0)

    def _decode(self, m):
        """States from the first mask to the check byte."""
        feature, mask, check = self._feature, self._mask, self._crc
        with m.State("Mask low"):
            m.d.comb += [self._want.eq(1), check.valid.eq(self._taken)]
            m.d.sync += mask[:8].eq(self._byte)
            with m.If(self._taken):
                m.next = "Mask high"
            self._whole(m)
        with m.State("Mask high"):
            m.d.comb += [self._want.eq(1), check.valid.eq(self._taken)]
            m.d.sync += mask[8:].eq(self._byte)
            with m.If(self._taken):
                m.next = "Codes"
            self._whole(m)
        with m.State("Codes"):
            m.d.comb += [self._want.eq(mask[0]), check.valid.eq(self._taken)]
            m.d.comb += self._decoded.eq(self._taken | ~mask[0])
            with m.If(self._decoded):
                m.d.sync += [mask.eq(mask >> 1), feature.eq(feature + 1)]
                with m.If(feature[:4] == WORD_ROWS - 1):
                    m.next = "Mask low"
                with m.If(feature + 1 == self.table.width):
                    m.next = "Check"
            self._whole(m)
        with m.State("Check"):
            m.d.comb += self._want.eq(1)
            with m.If(self._taken):
                m.next = "Drain"
                if self._check:
                    with m.If(self._byte != check.crc):
                        self._fail(m, Error.SENTENCE_CHECK)
            self._whole(m)
        with m.State("Drain"):  # padding, and what follows the row in its last bus word
            m.d.comb += self._words.o.ready.eq(~self._last)
            with m.If(self._last | (self._words.o.valid & self._words.o.payload.last)):
                m.next = "Finish"
            self._guard(m)

    def _whole(self, m):
        """The row is refused when it ends too early or the port fails."""
        with m.If(self._missing):
            self._fail(m, Error.SENTENCE_CHECK)
        self._guard(m)
