# SPDX-License-Identifier: Apache-2.0
"""Buffers, array and the engines that work on rows: LINEAR, NORM and ATTEND share one gather, one array and one store."""

from amaranth import Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from firmware.buffers import BUFFERS, buffer_words
from firmware.isa import ENGINES, Opcode, Source, Target
from hw.array.bitmask import string_layout
from hw.array.column import column_meta
from hw.array.linear import Linear
from hw.array.mac_array import MacArray
from hw.array.norm import Norm
from hw.array.operand import HELD, Operand
from hw.array.store import Store
from hw.attention.attention import Attention
from hw.buffer import Buffer, request_layout
from hw.engine import connect_engine
from hw.program.issue import operation_layout
from hw.queue.staging import word_layout
from hw.rows.gather import Gather
from hw.rows.layouts import slot_layout
from hw.shapes import ACT, code

__all__ = ["DATAPATH_ENGINES", "Datapath"]

DATAPATH_ENGINES = ("linear", "norm", "attention")  # those of firmware.isa.ENGINES that are in here


class Datapath(wiring.Component):
    """An operation, and the one that follows it; their parts run concurrently and hold each other by their streams.

    Members
    -------
    start, done, sent : a bit for each of DATAPATH_ENGINES; taken, older, younger, pending, turn : see `Issue`
    slots : stable while an operation runs
    row_address, row_physical, row_position : read port of the row table
    weights : stream of `string_layout(config)`; reduction, groups : see `MacArray`
    staged : stream of `hw.queue.staging.word_layout(config)`, words for the residual stream: written in cycles in which NORM does not
    scores_request, scores_words : read side of SCORES
    param_write, span_write : parameters, see `LayerNorm`, `Softmax`
    array : counters of `MacArray`; saturated : live values that saturated in this cycle
    stored, result, score, numerator, denominator (with _valid) : trace taps
    """

    def __init__(self, config):
        self.config = config
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
        engines = data.StructLayout({name: 1 for name in DATAPATH_ENGINES})
        super().__init__(
            {
                "start": In(engines),
                "done": Out(engines),
                "sent": Out(engines),
                "taken": In(1),
                "older": In(operation_layout(config)),
                "younger": In(operation_layout(config)),
                "pending": In(1),
                "turn": In(1),
                "slots": In(data.ArrayLayout(slot_layout(config), config.slots)),
                "row_address": Out(16),
                "row_physical": In(16),
                "row_position": In(16),
                "weights": In(stream.Signature(string_layout(config))),
                "reduction": In(16),
                "groups": In(16),
                "staged": In(stream.Signature(word_layout(config))),
                "scores_request": In(stream.Signature(request_layout())),
                "scores_words": Out(self.scores.o.signature),
                "param_write": In(self.norm.param_write.signature.flip()),
                "span_write": In(self.attention.span_write.signature.flip()),
                "saturated": Out(16),
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
        for name in (
            "state",
            "sum",
            "normed",
            "codes",
            "keys",
            "values",
            "scores",
            "gather",
            "store",
            "array",
            "operand",
            "linear",
            "norm",
            "attention",
        ):
            m.submodules[name] = getattr(self, name)
        op = self.older.instruction
        self._attending = op.opcode == Opcode.ATTEND
        self._engines(m)
        self._gather(m)
        self._array(m)
        self._store(m, op)
        self._reads(m)
        self._writes(m)
        self._taps(m)
        return m

    def _engines(self, m):
        for engine in ENGINES:
            if engine.name in DATAPATH_ENGINES:
                connect_engine(m, engine, getattr(self, engine.name), self, self.slots)
        # NORM needs its instruction until the last word is written, and so beyond `taken`.
        with m.If(self.older.instruction.opcode == Opcode.NORM):
            m.d.comb += self.norm.instruction.eq(self.older.instruction)
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
        """Whether the operation that was started reads what the one that ends writes, and how far that is."""
        before = self.older.instruction
        source = self.younger.instruction.source
        normed = before.opcode == Opcode.NORM
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
        """Requests of the operand, of NORM and of ATTEND; the row table's port is the gather's until it has its pointers."""
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
        """Operands and commands from LINEAR or ATTEND; weights from the bus, dense entries from ATTEND."""
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
        store = self.store
        m.d.comb += [
            store.turn.eq(self.turn ^ self.pending),
            store.shift.eq(op.shift),
            store.align.eq(op.align),
            store.encode.eq(op.store_encode),
            store.context_shift.eq(op.context_shift),
            store.function.eq(Mux(self._attending, 0, op.function)),
            store.target.eq(Mux(self._attending, Target.CODES, op.target_buffer)),
            self.saturated.eq(store.saturated + self.norm.saturated),
        ]
        wiring.connect(m, self.array.o, store.columns)
        wiring.connect(m, store.scores, self.attention.scores)
        wiring.connect(m, self.attention.o_denominators, store.denominators)

    def _reads(self, m):
        """SUM and NORMED serve NORM, NORMED and CODES the operand, KEYS and VALUES the feeders, SCORES the control engines."""
        for buffer, request, words in (
            (self.sum, self.norm.sum_request, self.norm.sum_words),
            (self.codes, self.operand.codes_request, self.operand.codes_words),
            (self.keys, self.attention.key_request, self.attention.key_words),
            (self.values, self.attention.value_request, self.attention.value_words),
            (self.scores, wiring.flipped(self.scores_request), wiring.flipped(self.scores_words)),
        ):
            wiring.connect(m, request, buffer.i)
            wiring.connect(m, buffer.o, words)
        for name in HELD:
            buffer = getattr(self, name)
            m.d.comb += [
                getattr(self.operand, f"{name}_index").eq(buffer.index),
                buffer.hold.eq(getattr(self.operand, f"{name}_hold")),
            ]
        m.d.comb += [
            self.norm.sum_index.eq(self.sum.index),
            self.sum.hold.eq(self.norm.sum_hold),
        ]
        normalizing = self.norm.reading
        users = (
            (normalizing, self.norm.normed_request, self.norm.normed_words),
            (~normalizing, self.operand.normed_request, self.operand.normed_words),
        )
        for chosen, request, words in users:
            m.d.comb += [
                request.ready.eq(self.normed.i.ready & chosen),
                words.payload.eq(self.normed.o.payload),
                words.valid.eq(self.normed.o.valid & chosen),
            ]
            with m.If(chosen):
                m.d.comb += [
                    self.normed.i.valid.eq(request.valid),
                    self.normed.i.payload.eq(request.payload),
                    self.normed.o.ready.eq(words.ready),
                ]

    def _writes(self, m):
        store = self.store
        norm = self.norm
        for buffer, target, values in (
            (self.sum, Target.SUM, store.write.values),
            (self.scores, Target.SCORES, store.write.values),
            (self.codes, Target.CODES, store.write.codes),
            (self.keys, Target.KEYS, store.write.codes),
        ):
            m.d.comb += [
                buffer.write.eq(store.write_valid & (store.target == target)),
                buffer.write_address.eq(store.write.address),
                buffer.write_lanes.eq(store.write.lanes),
                buffer.write_data.eq(values),
            ]
        m.d.comb += [
            self.values.write.eq(store.value_write_valid),
            self.values.write_address.eq(store.value_write.address),
            self.values.write_data.eq(store.value_write.codes),
            self.values.write_lanes.eq(-1),
            self.normed.write.eq(norm.normed_write_valid),
            self.normed.write_address.eq(norm.normed_write.address),
            self.normed.write_data.eq(norm.normed_write.values),
            self.normed.write_lanes.eq(norm.normed_write.lanes),
            self.state.write_lanes.eq(-1),
            self.staged.ready.eq(~norm.state_write_valid),
        ]
        for valid, word in (
            (self.staged.valid, self.staged.payload),
            (norm.state_write_valid, norm.state_write),
        ):  # NORM goes first
            with m.If(valid):
                m.d.comb += [
                    self.state.write.eq(1),
                    self.state.write_address.eq(word.address),
                    self.state.write_data.eq(word.values),
                ]

    def _taps(self, m):
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
