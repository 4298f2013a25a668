# SPDX-License-Identifier: Apache-2.0
"""Reads T rows of the residual stream through the row table, as a tile: one word of T tokens for each feature."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import Turn, request_layout
from hw.progress import has_written, progress_layout
from hw.shapes import ACT

__all__ = ["Gather"]


def pointed(config):
    """Cycles from a request to its pointers: an entry of the row table a cycle."""
    return config.tokens + 2


def cycles(config):
    """From a request to its first word: the pointers, T words of the rows, and the turn."""
    return pointed(config) + config.tokens + 2


def behind(config):
    """From the write of a tile's last words to the last word here: T rows, and the turn."""
    return 2 * config.tokens + 2


def rest(config, features):
    """From the last word to the next request; words beyond the last feature are dropped."""
    return -features % config.tokens + 2


class Gather(wiring.Component):
    """The pointers of a tile, and its words.

    A request for tile t first reads the T entries t*T .. t*T+T-1 of the row table (for `cls`: the first rows of the slots
    t*T ..) into `pointers`, `positions`; with `read` it then gives `features` words. Latency `pointed` to the pointers,
    `cycles` to the first word; then one word a cycle. The pointers hold until the next request. Stalled: holds its word.

    Members
    -------
    i : stream of {"tile", "cls", "read", "features"}; ready only when the previous request is complete
    follow, progress : the residual stream is still being written, and how far it is: blocks of T features are read when they are there
    o : stream of {"values": T x ACT, "last"}
    pointed : the pointers are those of the last request
    pointers : T first word addresses in the residual stream; positions : T original positions
    row_address, row : read port of the row table, data one cycle after the address
    starts : first row of every slot
    state_request, state_words : read side of the residual stream's buffer
    """

    def __init__(self, config):
        self.config = config
        t = config.tokens
        self.request = data.StructLayout({"tile": 16, "cls": 1, "read": 1, "features": 16})
        word = data.ArrayLayout(ACT, t)
        super().__init__(
            {
                "i": In(stream.Signature(self.request)),
                "follow": In(1),
                "progress": In(progress_layout()),
                "o": Out(stream.Signature(data.StructLayout({"values": word, "last": 1}))),
                "pointed": Out(1),
                "pointers": Out(data.ArrayLayout(32, t)),
                "positions": Out(data.ArrayLayout(16, t)),
                "row_address": Out(16),
                "row_physical": In(16),
                "row_position": In(16),
                "starts": In(data.ArrayLayout(16, config.slots)),
                "state_request": Out(stream.Signature(request_layout())),
                "state_words": In(stream.Signature(data.StructLayout({"values": word, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = self.config.tokens
        m.submodules.turn = turn = Turn(ACT, t, t)
        request = Signal(self.request)
        lane = Signal(range(t + 1))
        read_lane = Signal(range(t + 1))
        block = Signal(16)
        given = Signal(16)
        slot = Signal(16)
        with m.If(request.cls):
            m.d.comb += [
                slot.eq(request.tile * t + lane),
                self.row_address.eq(self.starts[slot]),
            ]
        with m.Else():
            m.d.comb += self.row_address.eq(request.tile * t + lane)
        m.d.comb += [
            self.state_request.payload.address.eq(self.pointers[lane] + block),
            self.state_request.payload.count.eq(1),
            turn.i.payload.eq(self.state_words.payload.values),
            turn.i.valid.eq(self.state_words.valid),
            self.state_words.ready.eq(turn.i.ready),
            self.o.payload.values.eq(turn.o.payload.values),
            self.o.payload.last.eq(given == request.features - 1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        request.eq(self.i.payload),
                        lane.eq(0),
                        self.pointed.eq(0),
                    ]
                    m.next = "POINT"
            with m.State("POINT"):  # addresses run one cycle ahead of the entries
                m.d.sync += [
                    lane.eq(lane + 1),
                    read_lane.eq(lane),
                ]
                with m.If(lane != 0):
                    m.d.sync += [
                        self.pointers[read_lane].eq(self.row_physical * self.config.row_words),
                        self.positions[read_lane].eq(self.row_position),
                    ]
                with m.If(lane == t):
                    m.d.sync += [
                        lane.eq(0),
                        block.eq(0),
                        given.eq(0),
                        self.pointed.eq(1),
                    ]
                    m.next = "READ"
            with m.State("READ"):
                wanted = block * t < request.features
                tile = Mux(
                    request.cls, self.progress.tile, request.tile
                )  # [CLS] rows are of all tiles
                written = ~self.follow | (
                    has_written(self.progress, tile, block * t)
                    & (self.progress.last | ~request.cls)
                )
                with m.If(~request.read):
                    m.next = "IDLE"
                m.d.comb += self.state_request.valid.eq(request.read & wanted & written)
                with m.If(self.state_request.valid & self.state_request.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane == t - 1):
                        m.d.sync += [
                            lane.eq(0),
                            block.eq(block + 1),
                        ]
                self._give(m, turn, request, given)
                with m.If(request.read & ~wanted & (given == request.features) & ~turn.o.valid):
                    m.next = "IDLE"
        return m

    def _give(self, m, turn, request, given):
        """Words beyond the last feature are dropped: a row takes whole words of T features."""
        spare = given == request.features
        m.d.comb += [
            self.o.valid.eq(turn.o.valid & ~spare),
            turn.o.ready.eq(self.o.ready | spare),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += given.eq(given + 1)
