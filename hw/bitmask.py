# SPDX-License-Identifier: Apache-2.0
"""Sparse columns to non-zeros: the RTL of golden_model/bitmask.py with the column headers of a weight stream."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from firmware.columns import BIAS_BITS, HEADER_BYTES
from golden_model.bitmask import WORD_ROWS
from hw.shapes import accumulator, code

__all__ = ["ColumnDecoder", "entry_layout", "header_layout"]


def entry_layout(config):
    """One weight of a column: its row, its code, and whether it is the column's last."""
    return data.StructLayout({"k": ceil_log2(config.reduction), "code": code(config), "last": 1})


def header_layout(config):
    """What a column carries besides weights."""
    return data.StructLayout({"bias": accumulator(config), "destination": 16})


class ColumnDecoder(wiring.Component):
    """One lane's byte string (docs/design.md, Weight stream) to column headers and non-zero weights.

    Takes one byte a cycle: a column of z non-zeros costs 7 + 2 * ceil(K / 16) + z cycles. A weight is offered when the next one, or the
    column's end, shows whether it is the last: one cycle after its byte at the earliest. A column without non-zeros gives one entry, code 0
    at row 0. Stalls as a whole when an output is not taken; headers run ahead of the weights by at most one column. After `groups` columns
    all input is taken and ignored, until `clear`.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of bus words)
    reduction, groups : In(range(config.reduction + 1)), In(16), K and number of columns, quasi-static
    clear : In(1), back to the start of a string
    o : Out(stream of entry_layout)
    o_header : Out(stream of header_layout); its payload is zero between `clear` and the first byte
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(config.bus_bits)), "clear": In(1),
            "reduction": In(range(config.reduction + 1)), "groups": In(16),
            "o": Out(stream.Signature(entry_layout(config))), "o_header": Out(stream.Signature(header_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        self._byte, self._valid, self._take = Signal(8), Signal(), Signal()
        self._bytes(m)
        index, groups = Signal(max(1, ceil_log2(self.config.reduction) - 4)), Signal(16)  # mask word of the column; columns decoded
        mask, last_index = Signal(WORD_ROWS), Signal.like(index)
        rest = mask & (mask - 1)
        weight, flush = Signal(), Signal()      # a weight's byte is here; the column has ended
        m.d.sync += last_index.eq((self.reduction - 1) >> 4)
        take_weight = self._weights(m, weight, flush, Cat(_lowest(m, mask), index))
        take_header = self._header(m)

        def next_word():
            m.d.sync += index.eq(index + 1)
            m.next = "MASK_LOW"
            with m.If(index == last_index):
                m.d.sync += [index.eq(0), groups.eq(groups + 1), flush.eq(1)]
                m.next = "HEADER"

        with m.FSM():
            with m.State("HEADER"):     # also past the last column
                m.d.comb += self._take.eq(take_header(groups == self.groups))
                with m.If(self._header_ends):
                    m.next = "MASK_LOW"
            with m.State("MASK_LOW"):
                m.d.comb += self._take.eq(1)
                m.d.sync += mask.eq(self._byte)
                with m.If(self._valid):
                    m.next = "MASK_HIGH"
            with m.State("MASK_HIGH"):
                m.d.comb += self._take.eq(~flush)
                m.d.sync += mask[8:].eq(self._byte)
                with m.If(self._valid & ~flush):
                    m.next = "CODES"
                    with m.If((mask[:8] == 0) & (self._byte == 0)):
                        next_word()
            with m.State("CODES"):
                m.d.comb += [weight.eq(self._valid & ~flush), self._take.eq(take_weight)]
                with m.If(weight & take_weight):
                    m.d.sync += mask.eq(rest)
                    with m.If(rest == 0):
                        next_word()
        return ResetInserter(self.clear)(m)

    def _bytes(self, m):
        """Bus words to bytes; one word waits while another is taken apart."""
        size = self.config.bus_bytes
        waiting, word = Signal(self.config.bus_bits, reset_less=True), Signal(self.config.bus_bits, reset_less=True)
        full, left = Signal(), Signal(range(size + 1))
        m.d.comb += [self.i.ready.eq(~full), self._byte.eq(word), self._valid.eq(left != 0)]
        with m.If(self.i.ready):
            m.d.sync += [waiting.eq(self.i.payload), full.eq(self.i.valid)]
        with m.If(~self._valid | self._take):
            m.d.sync += [word.eq(word >> 8), left.eq(left - self._valid)]
            with m.If(left[1:] == 0):
                m.d.sync += [word.eq(waiting), left.eq(Mux(full, size, 0))]
                with m.If(full):
                    m.d.sync += full.eq(0)

    def _header(self, m):
        """Shift in the header's bytes; returns how a byte is taken."""
        content, count = Signal(8 * HEADER_BYTES), Signal(range(HEADER_BYTES))
        pending, self._header_ends = Signal(), Signal()
        payload = self.o_header.payload
        m.d.comb += [self.o_header.valid.eq(pending), payload.bias.eq(content[:BIAS_BITS].as_signed()),
                         payload.destination.eq(content[BIAS_BITS:])]
        with m.If(self.o_header.ready):
            m.d.sync += pending.eq(0)

        def take(ignore):
            with m.If(self._valid & ~pending & ~ignore):
                m.d.sync += [content.eq(Cat(content[8:], self._byte)), count.eq(count + 1)]
                with m.If(count == HEADER_BYTES - 1):
                    m.d.comb += self._header_ends.eq(1)
                    m.d.sync += [count.eq(0), pending.eq(1)]
            return ~pending | ignore
        return take

    def _weights(self, m, weight, flush, k):
        """Hold each weight until its successor or the column's end is known; returns whether a weight's byte is taken."""
        held, entry = Signal(), Signal(data.StructLayout({"k": len(self.o.payload.k), "code": code(self.config)}))
        m.d.comb += [
            self.o.valid.eq(flush | (weight & held)), self.o.payload.last.eq(flush),
            self.o.payload.k.eq(entry.k), self.o.payload.code.eq(entry.code),
        ]
        take = ~flush & (~held | self.o.ready)
        with m.If(weight & take):
            m.d.sync += [held.eq(1), entry.k.eq(k), entry.code.eq(self._byte)]
        with m.If(flush & self.o.ready):
            m.d.sync += [flush.eq(0), held.eq(0), entry.eq(0)]
        return take


def _lowest(m, mask):
    """Position of the lowest set bit."""
    position = Signal(range(len(mask)))
    for bit in reversed(range(len(mask))):
        with m.If(mask[bit]):
            m.d.comb += position.eq(bit)
    return position
