# SPDX-License-Identifier: Apache-2.0
"""Buffers, array and the engines that work on rows: LINEAR, NORM and ATTEND."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.buffers import BUFFERS, buffer_words
from firmware.isa import ENGINES, Source, Target
from hw.array.bitmask import string_layout
from hw.array.column import column_meta
from hw.array.linear import Linear
from hw.array.mac_array import MacArray
from hw.array.norm import Norm
from hw.array.operand import Operand
from hw.array.store import Store
from hw.attention.attention import Attention
from hw.buffer import Buffer, request_layout
from hw.buffer_ports import connect_reads, connect_writes
from hw.engine import connect_engine, engine_bits
from hw.program.issue import operation_layout
from hw.queue.staging import residual_layout
from hw.rows.gather import Gather
from hw.rows.layouts import slot_layout
from hw.shapes import ACT, FEATURE, GROUPS, POSITION, ROW, code

__all__ = ["DATAPATH_ENGINES", "Datapath"]

DATAPATH_ENGINES = ("linear", "norm", "attention")  # those of firmware.isa.ENGINES that are in here


class Datapath(wiring.Component):
    """LINEAR, NORM and ATTEND on the tile buffers, with one gather, one array and one store.

    Two operations may be at work, the older and the younger one (see `Issue`): their parts run
    concurrently and hold each other by their streams. What the younger one loads goes on behind
    what the older one computes; its columns wait at the store until the older one has ended.

    Stalled: by `weights` (the array waits); nothing stalls its writes to the buffers.

    Parameters
    ----------
    config : HardwareConfig

    Members
    -------
    start, sent, done : a bit for each of DATAPATH_ENGINES, see `Issue`
    taken, older, acting, younger, pending, turn : of `Issue`
    slots : In(array of slot_layout(config)), stable while an operation runs
    row_address : Out(ROW), read port of the row table, a logical row
    row_physical : In(ROW), in the cycle after its address
    row_position : In(POSITION), in the cycle after its address
    weights : In(stream of string_layout(config))
    reduction : In(FEATURE), of the stream on `weights`
    groups : In(GROUPS), of the stream on `weights`
    staged : In(stream of word_layout(config)), words for the residual stream, taken while NORM has
        none
    scores_request, scores_words : read side of SCORES
    param_write : In, see `LayerNorm`
    span_write : In, see `Softmax`
    saturated : Out(FEATURE's width), live values that saturated in this cycle
    stored, result, score, numerator, denominator (with _valid) : Out, trace taps
    """

    def __init__(self, config):
        self.config = config
        # Buffers by the names of firmware/buffers.py.
        self.state = self._buffer("state")
        self.sum = self._buffer("sum")
        self.normed = self._buffer("normed")
        self.codes = self._buffer("codes")
        self.keys = self._buffer("keys")
        self.values = self._buffer("values")
        self.scores = self._buffer("scores")
        self.gather = Gather(config)
        self.store = Store(config)
        self.array = MacArray(config, meta=column_meta(config))
        self.operand = Operand(config, self.gather.request)
        # Engines by the names of firmware.isa.ENGINES.
        self.linear = Linear(config)
        self.norm = Norm(config, self.gather.request)
        self.attention = Attention(config, self.store.scores.payload.shape())
        taps = {
            "stored": self.store.stored,
            "result": self.norm.result,
            "score": self.attention.score,
            "numerator": self.attention.numerator,
            "denominator": self.attention.denominator,
        }
        engines = data.StructLayout(dict.fromkeys(DATAPATH_ENGINES, 1))
        super().__init__(
            {
                "start": In(engines),
                "done": Out(engines),
                "sent": Out(engines),
                "taken": In(1),
                "older": In(operation_layout(config)),
                "acting": In(engine_bits()),
                "younger": In(operation_layout(config)),
                "pending": In(1),
                "turn": In(1),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "row_address": Out(ROW),
                "row_physical": In(ROW),
                "row_position": In(POSITION),
                "weights": In(stream.Signature(string_layout(config))),
                "reduction": In(FEATURE),
                "groups": In(GROUPS),
                "staged": In(stream.Signature(residual_layout(config))),
                "scores_request": In(stream.Signature(request_layout())),
                "scores_words": Out(self.scores.o.signature),
                "param_write": In(self.norm.param_write.signature.flip()),
                "span_write": In(self.attention.span_write.signature.flip()),
                "saturated": Out(FEATURE),
                **{f"{name}_valid": Out(1) for name in taps},
                **{name: Out(tap.shape()) for name, tap in taps.items()},
            }
        )

    def _buffer(self, name):
        """A buffer of firmware/buffers.py."""
        config = self.config
        plan = BUFFERS[name]
        shape = code(config) if plan.coded else ACT
        return Buffer(shape, getattr(config, plan.lanes), buffer_words(config)[name])

    def elaborate(self, platform):
        m = Module()
        blocks = ("gather", "store", "array", "operand", *DATAPATH_ENGINES)
        for name in (*BUFFERS, *blocks):
            m.submodules[name] = getattr(self, name)
        self._attending = self.acting.attention
        self._engines(m)
        self._gather(m)
        self._array(m)
        self._store(m, self.older.instruction)
        connect_reads(m, self)
        connect_writes(m, self)
        self._taps(m)
        return m

    def _engines(self, m):
        """The engines obey `Issue`; what each of them must know beyond its operation."""
        for engine in ENGINES:
            if engine.name in DATAPATH_ENGINES:
                connect_engine(m, engine, getattr(self, engine.name), self, self.slots)
        # NORM needs its instruction until the last word is written, and so beyond `taken`. It looks
        # at it from the cycle after `start` on.
        held = Signal(self.norm.instruction.shape())
        m.d.comb += self.norm.instruction.eq(held)
        m.d.sync += held.eq(
            Mux(
                self.acting.norm,
                self.older.instruction.as_value(),
                self.younger.instruction.as_value(),
            )
        )
        m.d.comb += [
            self.linear.written.eq(self.store.ended),
            self.linear.turn.eq(self.turn),
            self.linear.resting.eq(self.operand.idle),
            self.attention.retired.eq(self.store.retired & self._attending),
        ]
        self._follow(m)
        wiring.connect(m, self.norm.param_write, wiring.flipped(self.param_write))
        wiring.connect(m, self.attention.span_write, wiring.flipped(self.span_write))

    def _follow(self, m):
        """Whether the younger operation reads what the older one writes, and how far that is."""
        # By buffer and not by address: to wait for a word too many costs time, and no result.
        before = self.older.instruction
        source = self.younger.instruction.source
        normed = self.acting.norm
        made = Mux(
            normed, before.target_buffer == Target.STATE, before.target_buffer == Target.CODES
        )
        wants = Mux(
            normed, (source == Source.STATE) | (source == Source.CLS), source == Source.CODES
        )
        kept = normed & (before.target_buffer == Target.NORMED) & (source == Source.NORMED)
        for block in (self.operand, self.gather):
            m.d.comb += [
                block.follow.eq(self.pending & (made & wants | kept)),
                block.progress.eq(Mux(normed, self.norm.progress, self.store.progress)),
            ]
        m.d.comb += [
            self.norm.follow.eq(self.pending & ~normed),
            self.norm.written.eq(self.store.progress),
        ]

    def _gather(self, m):
        """Requests of the operand, of NORM and of ATTEND, and the row table's port."""
        gather = self.gather
        normalizing = self.norm.reading
        for i in range(self.config.slots):
            m.d.comb += gather.starts[i].eq(self.slots[i].start)
        for chosen, request in (
            (normalizing, self.norm.gather_request),
            (self._attending, self.attention.o_point),
            (~normalizing & ~self._attending, self.operand.gather_request),
        ):
            with m.If(chosen):
                m.d.comb += [
                    gather.i.valid.eq(request.valid),
                    gather.i.payload.eq(request.payload),
                    request.ready.eq(gather.i.ready),
                ]
        # Pointers first, then words: NORM that waits for its residual has the gather to itself, so
        # the words need no tag that says whose they are.
        words = self.norm.gather_words, self.operand.gather_words
        for stream_in, chosen in zip(words, (normalizing, ~normalizing), strict=True):
            m.d.comb += [
                stream_in.valid.eq(gather.o.valid & chosen),
                stream_in.payload.eq(gather.o.payload),
            ]
        m.d.comb += [
            gather.o.ready.eq(Mux(normalizing, words[0].ready, words[1].ready)),
            gather.row_physical.eq(self.row_physical),
            gather.row_position.eq(self.row_position),
            self.attention.row_position.eq(self.row_position),
            # The row table has one read port: ATTEND takes it when the gather has its pointers.
            self.row_address.eq(
                Mux(
                    self._attending & gather.pointed, self.attention.row_address, gather.row_address
                )
            ),
            self.norm.pointed.eq(gather.pointed),
            self.norm.pointers.eq(gather.pointers),
            self.attention.pointed.eq(gather.pointed),
            self.attention.positions.eq(gather.positions),
        ]
        wiring.connect(m, gather.state_request, self.state.i)
        wiring.connect(m, self.state.o, gather.state_words)

    def _array(self, m):
        """Operands and commands of LINEAR or ATTEND; weights of the bus or, dense, of ATTEND."""
        array = self.array
        operand = self.operand
        attention = self.attention
        opening = self.younger.instruction
        m.d.comb += [
            operand.source.eq(Mux(self._attending, Source.CODES, opening.source)),
            operand.features.eq(opening.reduction),
            operand.encode.eq(opening.encode),
            array.reduction.eq(self.reduction),
            array.groups.eq(self.groups),
        ]
        wiring.connect(m, wiring.flipped(self.weights), array.i_weights)
        for target, linear, attend in (
            (operand.i, self.linear.o_load, attention.o_load),
            (array.i_command, self.linear.o_command, attention.o_command),
            (array.i_load, operand.o, attention.o_numerators),
        ):
            # ATTEND gives no numerator while it waits for a query tile, so the two never meet.
            chosen = attend.valid if target is array.i_load else self._attending
            m.d.comb += [
                target.valid.eq(Mux(chosen, attend.valid, linear.valid)),
                target.payload.eq(
                    Mux(chosen, attend.payload.as_value(), linear.payload.as_value())
                ),
                attend.ready.eq(target.ready & chosen),
                linear.ready.eq(target.ready & ~chosen),
            ]
        m.d.comb += attention.loaded.eq(
            operand.o.valid & operand.o.ready & operand.o.payload.last & self._attending
        )
        wiring.connect(m, attention.o_dense, array.i_dense)

    def _store(self, m, op):
        """Columns out of the array, by the older operation's instruction `op`."""
        # The columns of the younger one carry the other turn: the store holds them. It has its own
        # registers, since its paths are the longest; turn and fields change together.
        store = self.store
        m.d.sync += [
            store.turn.eq(self.turn ^ self.pending),
            store.shift.eq(op.shift),
            store.align.eq(op.align),
            store.encode.eq(op.store_encode),
            store.context_shift.eq(op.context_shift),
            store.function.eq(Mux(self._attending, 0, op.function)),
            store.target.eq(Mux(self._attending, Target.CODES, op.target_buffer)),
        ]
        m.d.comb += self.saturated.eq(store.saturated + self.norm.saturated)
        wiring.connect(m, self.array.o, store.columns)
        wiring.connect(m, store.scores, self.attention.scores)
        wiring.connect(m, self.attention.o_denominators, store.denominators)

    def _taps(self, m):
        """What the blocks show goes to the ports of the same names."""
        for name, block in (
            ("stored", self.store),
            ("result", self.norm),
            ("score", self.attention),
            ("numerator", self.attention),
            ("denominator", self.attention),
        ):
            m.d.comb += [
                getattr(self, name).eq(getattr(block, name)),
                getattr(self, f"{name}_valid").eq(getattr(block, f"{name}_valid")),
            ]
