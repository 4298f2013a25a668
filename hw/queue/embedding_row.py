# SPDX-License-Identifier: Apache-2.0
"""One row of the embedding image: decoded from its bitmask, checked."""

from amaranth import Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.crc.catalog import CRC8_SMBUS
from amaranth.lib.wiring import In, Out

from firmware.error_codes import Error
from golden_model.bitmask import WORD_ROWS
from hw.bus.transfer import word
from hw.queue.embedding_table import longest_row, row_layout
from hw.shapes import ERROR, code

__all__ = ["RowDecoder"]

NEXT = 3  # cycles from a row's last word until the next row may be taken


class RowDecoder(wiring.Component):
    """A row's words to its features' codes.

    About 9/8 cycles a feature: one for each, two for each mask word, one for the check byte,
    and `NEXT` for the row. All features come, in order. A row that is `bad`, or ends
    before its last feature, or has a wrong check byte (if the config has "embedding_check") is a failed one; all its words are taken all the same.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    width : features of a row, quasi-static
    i_row, i : streams of `row_layout(config)` and of its words, see `RowFetcher`
    code_valid, feature, code : one feature; cannot be stalled
    done, status : pulse at the end, and 0 or SENTENCE_CHECK
    """

    def __init__(self, config):
        self._config = config
        self._check = "embedding_check" in config.units
        super().__init__(
            {
                "width": In(16),
                "i_row": In(stream.Signature(row_layout(config))),
                "i": In(stream.Signature(word())),
                "code_valid": Out(1),
                "feature": Out(16),
                "code": Out(code(config)),
                "done": Out(1),
                "status": Out(ERROR),
            }
        )

    def elaborate(self, platform):
        m = Module()
        start = self.i_row.valid & self.i_row.ready
        self._bytes(m, start)
        self._features(m, start)
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.i_row.ready.eq(1)
                with m.If(self.i_row.valid):
                    m.d.sync += [
                        self.status.eq(
                            Mux(self.i_row.payload.bad, Error.SENTENCE_CHECK, Error.NONE)
                        ),
                        self._left.eq(self.i_row.payload.length),
                    ]
                    m.next = "Mask low"
                    with m.If(self.i_row.payload.bad):
                        m.next = "Finish"
            self._decode(m)
            with m.State("Finish"):
                m.d.comb += self.done.eq(1)
                m.next = "Idle"
        return m

    def _fail(self, m):
        m.d.sync += self.status.eq(Error.SENTENCE_CHECK)
        m.next = "Drain"

    def _bytes(self, m, start):
        """The words byte by byte: in a cycle with `_want`, `_taken` or, past the row's end, `_missing`."""
        lane = Signal(2)
        i = self.i
        self._left = Signal(range(longest_row(self._config.embedding) + 1))
        self._want = Signal()
        self._taken = Signal()
        self._missing = Signal()
        self._byte = Signal(8)
        self._last = Signal()
        m.d.comb += [
            self._byte.eq(i.payload.data.word_select(lane, 8)),
            self._missing.eq(self._want & (self._left == 0)),
            self._taken.eq(self._want & i.valid & (self._left != 0)),
        ]
        with m.If(self._taken):
            m.d.comb += i.ready.eq(lane == 3)
            m.d.sync += [
                lane.eq(lane + 1),
                self._left.eq(self._left - 1),
                self._last.eq(i.payload.last & (lane == 3)),
            ]
        with m.If(start):
            m.d.sync += [
                lane.eq(0),
                self._last.eq(0),
            ]

    def _features(self, m, start):
        """The register behind the decoder, and what its states work on."""
        self._feature = Signal(16)
        self._mask = Signal(WORD_ROWS)
        self._decoded = Signal()
        m.submodules.crc = self._crc = crc.Parameters(CRC8_SMBUS, 8).create()
        m.d.comb += [
            self._crc.data.eq(self._byte),
            self._crc.start.eq(start),
        ]
        m.d.sync += [
            self.code_valid.eq(self._decoded),
            self.feature.eq(self._feature),
            self.code.eq(Mux(self._mask[0], self._byte, 0)),
        ]
        with m.If(start):
            m.d.sync += self._feature.eq(0)

    def _decode(self, m):
        """States from the first mask to the check byte."""
        feature = self._feature
        mask = self._mask
        check = self._crc
        with m.State("Mask low"):
            m.d.comb += [
                self._want.eq(1),
                check.valid.eq(self._taken),
            ]
            m.d.sync += mask[:8].eq(self._byte)
            with m.If(self._taken):
                m.next = "Mask high"
            self._whole(m)
        with m.State("Mask high"):
            m.d.comb += [
                self._want.eq(1),
                check.valid.eq(self._taken),
            ]
            m.d.sync += mask[8:].eq(self._byte)
            with m.If(self._taken):
                m.next = "Codes"
            self._whole(m)
        with m.State("Codes"):
            m.d.comb += [
                self._want.eq(mask[0]),
                check.valid.eq(self._taken),
            ]
            m.d.comb += self._decoded.eq(self._taken | ~mask[0])
            with m.If(self._decoded):
                m.d.sync += [
                    mask.eq(mask >> 1),
                    feature.eq(feature + 1),
                ]
                with m.If(feature[:4] == WORD_ROWS - 1):
                    m.next = "Mask low"
                with m.If(feature + 1 == self.width):
                    m.next = "Check"
            self._whole(m)
        with m.State("Check"):
            m.d.comb += self._want.eq(1)
            with m.If(self._taken):
                m.next = "Drain"
                if self._check:
                    with m.If(self._byte != check.crc):
                        self._fail(m)
            self._whole(m)
        with m.State("Drain"):  # padding, and what follows the row in its last bus word
            m.d.comb += self.i.ready.eq(~self._last)
            with m.If(self._last | (self.i.valid & self.i.payload.last)):
                m.next = "Finish"

    def _whole(self, m):
        """The row is refused when it ends too early."""
        with m.If(self._missing):
            self._fail(m)
