# SPDX-License-Identifier: Apache-2.0
"""ATTEND: scores, softmax with span mask, and context (golden_model/attention.py)."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.array.linear import tile_request_layout
from hw.attention.feed import Feeder
from hw.attention.scoring import Scoring
from hw.attention.turns import Items, Turns, item_layout, turn_layout
from hw.engine import engine_signature
from hw.stream import Fifo

__all__ = ["Attention"]

# Turns that a part may be ahead of another: while an operand is loaded, the lanes are fed for the
# turn before or the one behind it.
AHEAD = 2


class Attention(wiring.Component):
    """For each selected slot, each of its query tiles and each live head: softmax(Q K^T) V.

    A pipeline of items (slot, query tile, head) that nothing drains: the array makes scores and
    contexts in turns, S0 S1 C0 S2 C1 .. (see `Turns`), while the softmax works on the item between.
    Queries, keys and context have the word layout
    address = base + tile * stride + head * dimension + feature.

    An item takes as long as the longest of: feeder, head * tiles of keys (where P < T parts of P
    keys) + ceil(head / P) * max(keys, P); softmax, see `Scoring`; loads, head + keys and their
    latencies. An operand's bank is free when the last column of the turn that used it has left,
    P + 10 cycles after its last entry: a query tile of `head` words whose turn is behind a shorter
    context adds what is missing. Stalled: each part waits where its turn is; `done` comes later.

    Parameters
    ----------
    config : HardwareConfig
    scores : layout of a score column of `Store`, whose field `values` is T x ACT

    Members
    -------
    start, instruction, mask, slots, done : as `engine_signature`
    o_load : Out(stream of tile_request_layout), the query tile of a turn
    loaded : In(1), pulse: its last word has gone to the array
    o_numerators : Out(stream of {codes: code x T, last}), never between a load and `loaded`
    i, align and others : those of `Scoring` and of `Feeder` that are not between the parts here:
        o_point, pointed, positions, row_address, row_position, scores, o_denominators, span_write,
        score, numerator, denominator and their _valid; retired, key_request, key_words,
        value_request, value_words, o_dense, o_command
    """

    def __init__(self, config, scores):
        self.config = config
        self.scoring = Scoring(config, scores)
        self.feeder = Feeder(config)
        # What is joined inside; every other port of a part is passed on under its own name.
        own = {"i", "align", "length", "stride", "idle", "slots", "o_numerators"}
        self._ports = {
            name: (part, member)
            for part in (self.scoring, self.feeder)
            for name, member in part.signature.members.items()
            if name not in own
        }
        super().__init__(
            {
                **engine_signature(config).members,
                "o_load": Out(stream.Signature(tile_request_layout())),
                "loaded": In(1),
                "o_numerators": Out(self.scoring.o_numerators.signature),
                **{name: member for name, (_, member) in self._ports.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.items = items = Items(self.config)
        m.submodules.turns = turns = Turns(self.config)
        m.submodules.scoring = scoring = self.scoring
        m.submodules.feeder = feeder = self.feeder
        # Three parts take the turns, each at its own pace: the loads, the feeder, and for scores
        # the softmax. All of them and the columns keep the order of the turns, and every wait is
        # for a turn before: so there is no deadlock.
        m.submodules.loads = loads = Fifo(turn_layout(self.config), AHEAD)
        m.submodules.feeds = feeds = Fifo(turn_layout(self.config), AHEAD)
        m.submodules.scores = scores = Fifo(item_layout(self.config), AHEAD)
        op = self.instruction
        m.d.comb += [
            items.start.eq(self.start),
            items.mask.eq(self.mask),
            items.instruction.eq(self.instruction),
            items.slots.eq(self.slots),
            feeder.slots.eq(self.slots),
            feeder.length.eq(op.reduction),
            feeder.stride.eq(op.source_stride),
            scoring.align.eq(op.score_align),
        ]
        wiring.connect(m, items.o, turns.i)
        wiring.connect(m, feeds.o, feeder.i)
        wiring.connect(m, scores.o, scoring.i)
        self._pass(m)
        self._fork(m, turns.o, loads.i, feeds.i, scores.i)
        self._load(m, loads.o)
        self._finish(m, feeder)
        return m

    def _pass(self, m):
        """The ports that are a part's."""
        for name, (part, member) in self._ports.items():
            ours = getattr(self, name)
            theirs = getattr(part, name)
            if member.is_signature:
                wiring.connect(m, theirs, wiring.flipped(ours))
            elif member.flow == In:
                m.d.comb += theirs.eq(ours)
            else:
                m.d.comb += ours.eq(theirs)

    def _fork(self, m, turns, loads, feeds, scores):
        """A turn goes to all parts at once; the softmax has no part in contexts."""
        context = turns.payload.context
        given = turns.valid & turns.ready
        m.d.comb += [
            turns.ready.eq(loads.ready & feeds.ready & (scores.ready | context)),
            loads.valid.eq(given),
            loads.payload.eq(turns.payload),
            feeds.valid.eq(given),
            feeds.payload.eq(turns.payload),
            scores.valid.eq(given & ~context),
            scores.payload.eq(turns.payload.item),
        ]

    def _load(self, m, turns):
        """The operand of each turn, complete before that of the next begins.

        For scores a query tile is asked for; for a context the softmax's numerators go through.
        """
        context = turns.payload.context
        asked = Signal()
        query = turns.valid & ~context
        numerators = turns.valid & context
        softmax = self.scoring.o_numerators
        ended = softmax.valid & softmax.ready & softmax.payload.last
        m.d.comb += [
            self.o_load.valid.eq(query & ~asked),
            self.o_load.payload.tile.eq(turns.payload.item.tile),
            self.o_load.payload.address.eq(turns.payload.item.query),
            self.o_numerators.valid.eq(softmax.valid & numerators),
            self.o_numerators.payload.eq(softmax.payload),
            softmax.ready.eq(self.o_numerators.ready & numerators),
            turns.ready.eq(Mux(context, ended, asked & self.loaded)),
        ]
        # Once for a turn, however long its words take.
        m.d.sync += asked.eq((asked | query & self.o_load.ready) & ~turns.ready)

    def _finish(self, m, feeder):
        """`done`, when the columns of the last turn, a context, are written."""
        turn = feeder.i
        last = Signal()  # the last turn's words are asked for
        with m.If(turn.valid & turn.ready & turn.payload.context & turn.payload.item.last):
            m.d.sync += last.eq(1)
        m.d.comb += self.done.eq(last & feeder.idle)
        with m.If(self.done):
            m.d.sync += last.eq(0)
