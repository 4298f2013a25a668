# SPDX-License-Identifier: Apache-2.0
"""One row of the embedding image: decoded from its bitmask, checked."""

from amaranth import Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.error_codes import Error
from golden_model.bitmask import WORD_ROWS
from hw.bus.transfer import word
from hw.queue.embedding_table import longest_row, row_layout
from hw.shapes import BYTE, ERROR, FEATURE, WORD, code

__all__ = ["RowDecoder"]

NEXT = 3  # cycles from a row's last word until the next row may be taken


class RowDecoder(wiring.Component):
    """A row's words to the codes of its features (golden_model/bitmask.py), zeros too.

    About 9/8 cycles a feature: one for each, two for each mask word, two for the check, and `NEXT`
    for the row. All features come, in order, each a cycle after its byte. Stalled by `i` it
    waits; its output cannot be stalled.

    A row fails that is `bad`, or ends before its last feature, or has not the check of its bytes
    and its number (if the config has the unit "embedding_check"); all its words are taken all the
    same.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    width : In(FEATURE), features of a row, quasi-static
    i_row : In(stream of row_layout(config)), see `RowFetcher`
    i : In(stream of word()), the row's words, see `RowFetcher`
    code_valid : Out(1), pulse
    feature : Out(FEATURE), the number of the feature whose code it is
    code : Out(code(config))
    done : Out(1), pulse: all of the row is taken
    status : Out(ERROR), 0 or SENTENCE_CHECK, with `done`
    """

    def __init__(self, config):
        self.config = config
        self._check = "embedding_check" in config.units
        super().__init__(
            {
                "width": In(FEATURE),
                "i_row": In(stream.Signature(row_layout(config))),
                "i": In(stream.Signature(word())),
                "code_valid": Out(1),
                "feature": Out(FEATURE),
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
            # Waits for a row.
            with m.State("IDLE"):
                m.d.comb += self.i_row.ready.eq(1)
                with m.If(self.i_row.valid):
                    m.d.sync += [
                        self._number.eq(self.i_row.payload.number),
                        self.status.eq(
                            Mux(self.i_row.payload.bad, Error.SENTENCE_CHECK, Error.NONE)
                        ),
                        self._left.eq(self.i_row.payload.length),
                    ]
                    m.next = "MASK_LOW"
                    # No byte of a bad row comes.
                    with m.If(self.i_row.payload.bad):
                        m.next = "FINISH"
            self._decode(m)
            # The row's end is told.
            with m.State("FINISH"):
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"
        return m

    def _fail(self, m):
        """The row fails; what is left of it is taken, so that the next one begins at its first."""
        m.d.sync += self.status.eq(Error.SENTENCE_CHECK)
        m.next = "DRAIN"

    def _bytes(self, m, start):
        """The words byte by byte, lowest first."""
        parts = WORD.width // BYTE.width
        lane = Signal(range(parts))
        i = self.i
        self._left = Signal(range(longest_row(self.config.embedding) + 1))  # bytes of the row
        self._number = Signal(self.i_row.payload.number.shape())  # of the row, as its check has it
        # A state wants a byte: then it is taken, waited for or, past the row's end, missing.
        self._want = Signal()
        self._taken = Signal()
        self._missing = Signal()
        self._byte = Signal(BYTE)
        self._last = Signal()  # the words of the row's request have been taken
        m.d.comb += [
            self._byte.eq(i.payload.data.word_select(lane, BYTE.width)),
            self._missing.eq(self._want & (self._left == 0)),
            self._taken.eq(self._want & i.valid & (self._left != 0)),
        ]
        with m.If(self._taken):
            m.d.comb += i.ready.eq(lane == parts - 1)
            m.d.sync += [
                lane.eq(lane + 1),
                self._left.eq(self._left - 1),
                self._last.eq(i.payload.last & (lane == parts - 1)),
            ]
        with m.If(start):
            m.d.sync += [
                lane.eq(0),
                self._last.eq(0),
            ]

    def _features(self, m, start):
        """The register behind the decoder, and what its states work on."""
        self._feature = Signal(FEATURE)  # the next one
        self._mask = Signal(WORD_ROWS)  # its bit is the lowest
        self._decoded = Signal()  # it leaves
        m.submodules.crc = self._crc = crc.Parameters(CRC16_IBM_3740, BYTE.width).create()
        m.d.comb += [
            self._crc.data.eq(self._byte),
            self._crc.start.eq(start),
        ]
        # A feature whose bit is 0 has no byte: its code is 0.
        m.d.sync += [
            self.code_valid.eq(self._decoded),
            self.feature.eq(self._feature),
            self.code.eq(Mux(self._mask[0], self._byte, 0)),
        ]
        with m.If(start):
            m.d.sync += self._feature.eq(0)

    def _decode(self, m):
        """States from the first mask to the check."""
        feature = self._feature
        mask = self._mask
        check = self._crc
        # With its number, so that no row passes for another one.
        wanted = check.crc ^ self._number
        # The mask word's low byte.
        with m.State("MASK_LOW"):
            m.d.comb += [
                self._want.eq(1),
                check.valid.eq(self._taken),
            ]
            m.d.sync += mask[: BYTE.width].eq(self._byte)
            with m.If(self._taken):
                m.next = "MASK_HIGH"
            self._whole(m)
        # Its high byte.
        with m.State("MASK_HIGH"):
            m.d.comb += [
                self._want.eq(1),
                check.valid.eq(self._taken),
            ]
            m.d.sync += mask[BYTE.width :].eq(self._byte)
            with m.If(self._taken):
                m.next = "CODES"
            self._whole(m)
        # A feature of it each cycle.
        with m.State("CODES"):
            m.d.comb += [
                self._want.eq(mask[0]),
                check.valid.eq(self._taken),
                self._decoded.eq(self._taken | ~mask[0]),
            ]
            with m.If(self._decoded):
                m.d.sync += [
                    mask.eq(mask >> 1),
                    feature.eq(feature + 1),
                ]
                with m.If(feature[: ceil_log2(WORD_ROWS)] == WORD_ROWS - 1):
                    m.next = "MASK_LOW"
                # The width need not be a multiple of 16.
                with m.If(feature + 1 == self.width):
                    m.next = "CHECK_HIGH"
            self._whole(m)
        # The check's high byte is compared.
        with m.State("CHECK_HIGH"):
            self._compare(m, wanted[BYTE.width :], "CHECK_LOW")
        # Its low byte.
        with m.State("CHECK_LOW"):
            self._compare(m, wanted[: BYTE.width], "DRAIN")
        # Padding, and what follows the row in its last bus word.
        with m.State("DRAIN"):
            m.d.comb += self.i.ready.eq(~self._last)
            with m.If(self._last | (self.i.valid & self.i.payload.last)):
                m.next = "FINISH"

    def _compare(self, m, wanted, following):
        """A byte of the check, then the state `following`."""
        m.d.comb += self._want.eq(1)
        with m.If(self._taken):
            m.next = following
            if self._check:
                with m.If(self._byte != wanted):
                    self._fail(m)
        self._whole(m)

    def _whole(self, m):
        """The row is refused when it ends too early."""
        with m.If(self._missing):
            self._fail(m)
