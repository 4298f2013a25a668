# SPDX-License-Identifier: Apache-2.0
"""Reads T rows of the residual stream through the row table, as a tile."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.buffer import Turn, request_layout, word_layout
from hw.progress import has_written, progress_layout
from hw.shapes import ACT, FEATURE, POINTER, POSITION, ROW, TILE, tile_values
from hw.stream import RegisterSlice

__all__ = ["Gather", "gather_request_layout"]


def gather_request_layout():
    """What is asked of `Gather`: the pointers of a tile, and with `read` the first features too.

    tile : of the rows, or with `cls` of the [CLS] rows: lane l is the first row of slot t * T + l
    features : at least 1
    """
    return data.StructLayout({"tile": TILE, "cls": 1, "read": 1, "features": FEATURE})


def pointed(config):
    """Cycles from a request to its pointers: an entry of the row table a cycle."""
    return config.tokens + 2


def cycles(config):
    """From a request to its first word: the pointers, T words of the rows, the turn, a register."""
    return pointed(config) + config.tokens + 3


def behind(config):
    """From the write of a tile's last words to the last word here: T rows, turn and register."""
    return 2 * config.tokens + 3


def rest(config, features):
    """From the last word to the next request; words beyond the last feature are dropped."""
    return -features % config.tokens + 1


class Gather(wiring.Component):
    """Word f of a tile is feature f of its T rows, wherever these are in the residual stream.

    A request first reads the T entries of the row table into `pointers` and `positions`; with
    `read` it then gives `features` words. Latency `pointed` to the pointers, `cycles` to the first
    word; then one word a cycle. Stalled: the word on `o` is held, and the pointers stay.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    i : In(stream of gather_request_layout), taken when the previous request is complete
    follow : In(1), the residual stream is still being written
    progress : In(progress_layout), how far it is: blocks of T features are read when they are there
    o : Out(stream of word_layout of T x ACT)
    pointed : Out(1), the pointers are those of the last request, until the next one
    pointers : Out(T x POINTER), first word of each row in the residual stream
    positions : Out(T x POSITION), original positions
    row_address : Out(ROW), of the row table's read port
    row_physical, row_position : In(ROW), In(POSITION), its entry one cycle later
    starts : In(slots x ROW), first row of every slot
    state_request : Out(stream of request_layout), words of the residual stream
    state_words : In(stream of word_layout of T x ACT)
    """

    def __init__(self, config):
        self.config = config
        t = config.tokens
        self.request = gather_request_layout()
        word = word_layout(tile_values(config))
        super().__init__(
            {
                "i": In(stream.Signature(self.request)),
                "follow": In(1),
                "progress": In(progress_layout()),
                "o": Out(stream.Signature(word)),
                "pointed": Out(1),
                "pointers": Out(data.ArrayLayout(POINTER, t)),
                "positions": Out(data.ArrayLayout(POSITION, t)),
                "row_address": Out(ROW),
                "row_physical": In(ROW),
                "row_position": In(POSITION),
                "starts": In(data.ArrayLayout(ROW, config.slots)),
                "state_request": Out(stream.Signature(request_layout())),
                "state_words": In(stream.Signature(word)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        t = self.config.tokens
        # The residual stream is stored by rows, so that a row can leave without another one being
        # moved; a turn of T x T makes words of T rows out of T words of one row.
        m.submodules.turn = turn = Turn(ACT, t, t)
        request = Signal(self.request)
        lane = Signal(range(t + 1))
        row = Signal(ROW)  # of the lane
        block = Signal(FEATURE)  # of T features, the next one to read
        leaving = _Leaving()
        # A turned word comes late in its cycle, and much is made of it.
        m.submodules.words = words = RegisterSlice(self.o.payload.shape())
        wiring.connect(m, words.o, wiring.flipped(self.o))
        self._address(m, request, row)
        m.d.comb += [
            self.state_request.payload.address.eq(self.pointers[lane] + block),
            self.state_request.payload.count.eq(1),
            turn.i.payload.eq(self.state_words.payload.values),
            turn.i.valid.eq(self.state_words.valid),
            self.state_words.ready.eq(turn.i.ready),
            words.i.payload.values.eq(turn.o.payload.values),
            words.i.payload.last.eq(leaving.last),
        ]
        with m.FSM():
            # A request is taken.
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        request.eq(self.i.payload),
                        row.eq(self.i.payload.tile * t),
                        lane.eq(0),
                        self.pointed.eq(0),
                    ]
                    m.next = "POINT"
            # The entries of its rows: addresses run one cycle ahead of them.
            with m.State("POINT"):
                m.d.sync += row.eq(row + 1)
                self._point(m, lane, block, leaving, request.features)
            # Block by block a word of each row, while turned words leave.
            with m.State("READ"):
                self._read(m, turn, words.i, request, lane, block, leaving)
        return m

    def _address(self, m, request, row):
        """The logical row of a lane, to the row table: of [CLS] rows `row` is the slot."""
        m.d.comb += self.row_address.eq(Mux(request.cls, self.starts[row], row))

    def _point(self, m, lane, block, leaving, features):
        """Pointer and position of the lane whose address was given in the cycle before."""
        t = self.config.tokens
        read_lane = Signal(range(t + 1))
        m.d.sync += [
            lane.eq(lane + 1),
            read_lane.eq(lane),
        ]
        # Addresses of words, so that neither the reads here nor NORM's writes multiply.
        with m.If(lane != 0):
            m.d.sync += [
                self.pointers[read_lane].eq(self.row_physical * self.config.row_words),
                self.positions[read_lane].eq(self.row_position),
            ]
        with m.If(lane == t):
            m.d.sync += [
                lane.eq(0),
                block.eq(0),
                leaving.left.eq(features),
                leaving.last.eq(features == 1),
                leaving.spare.eq(0),
                self.pointed.eq(1),
            ]
            m.next = "READ"

    def _read(self, m, turn, words, request, lane, block, leaving):
        """A word of lane after lane, block after block, until all features have left."""
        t = self.config.tokens
        wanted = block * t < request.features
        # [CLS] rows are of all tiles: they are there when the last tile is.
        tile = Mux(request.cls, self.progress.tile, request.tile)
        written = ~self.follow | (
            has_written(self.progress, tile, block * t) & (self.progress.last | ~request.cls)
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
        # A row takes whole words of T features: what is beyond the last feature is dropped here.
        spare = leaving.spare
        m.d.comb += [
            words.valid.eq(turn.o.valid & ~spare),
            turn.o.ready.eq(words.ready | spare),
        ]
        with m.If(words.valid & words.ready):
            m.d.sync += [
                leaving.left.eq(leaving.left - 1),
                leaving.last.eq(leaving.left == 2),
                leaving.spare.eq(leaving.last),
            ]
        # Not before the spare words have gone: the next request's would come behind them.
        with m.If(request.read & ~wanted & spare & ~turn.o.valid):
            m.next = "IDLE"


class _Leaving:
    """Words of a request that have not left, and registers of what much depends on.

    left : how many; last : one; spare : none, and what comes is beyond the last feature
    """

    def __init__(self):
        self.left = Signal(FEATURE, name="leaving_left")
        self.last = Signal(name="leaving_last")
        self.spare = Signal(name="leaving_spare")
