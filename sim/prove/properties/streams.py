# SPDX-License-Identifier: Apache-2.0
"""Streams: what goes in comes out, once, in order, and waits unchanged where it is stalled."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.hdl import Assert, Assume
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from golden_model.formats import ETA_FRAC
from golden_model.hardware import HARDWARE
from hw.shapes import ETA, EXPONENTIAL
from sim.prove.prover import Mutant, Property

__all__ = ["STREAMS"]

WORD = unsigned(3)
NUMBER = unsigned(5)  # of words, more than a bounded proof has


class Ordered(wiring.Component):
    """Of a block between two streams: any one word that goes in comes out as that word.

    Which one is `watched` is left to the solver. `capacity` is how many are inside at most; with
    `at_once` a word that is inside is offered.
    """

    def __init__(self, block, capacity, at_once=True):
        self.block = block
        self._capacity = capacity
        self._at_once = at_once
        super().__init__({"i": In(stream.Signature(WORD)), "ready": In(1), "watched": In(NUMBER)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self.block
        sent = Signal(NUMBER)
        given = Signal(NUMBER)
        inside = Signal(NUMBER)
        value = Signal(WORD)  # of the word that is watched
        watched = Signal(NUMBER)
        begun = Signal()
        m.d.comb += [
            block.i.valid.eq(self.i.valid),
            block.i.payload.eq(self.i.payload),
            self.i.ready.eq(block.i.ready),
            block.o.ready.eq(self.ready),
            inside.eq(sent - given),
            Assume(~begun | (self.watched == watched)),
        ]
        m.d.sync += [
            begun.eq(1),
            watched.eq(self.watched),
        ]
        moved_in = block.i.valid & block.i.ready
        moved_out = block.o.valid & block.o.ready
        m.d.sync += [
            sent.eq(sent + moved_in),
            given.eq(given + moved_out),
        ]
        with m.If(moved_in & (sent == self.watched)):
            m.d.sync += value.eq(self.i.payload)
        m.d.comb += [
            Assert(inside <= self._capacity),
            Assert(~block.o.valid | (inside != 0)),
            Assert(block.i.ready | (inside == self._capacity) | ~begun),
        ]
        if self._at_once:
            m.d.comb += Assert(block.o.valid | (inside == 0))
        # It is inside: it went in, and has not come out.
        self._place = Signal(NUMBER)  # words before it
        self._is_inside = Signal()
        m.d.comb += [
            self._place.eq(self.watched - given),
            self._is_inside.eq(begun & (self._place < inside)),
        ]
        with m.If(self._is_inside & (self._place == 0) & block.o.valid):
            m.d.comb += Assert(block.o.payload == value)
        self._value = value
        self._stable(m, block)
        self._invariants(m, inside)
        return m

    def _stable(self, m, block):
        """A word that is offered and not taken stays."""
        stalled = Signal()
        payload = Signal(WORD)
        m.d.sync += [
            stalled.eq(block.o.valid & ~block.o.ready),
            payload.eq(block.o.payload),
        ]
        with m.If(stalled):
            m.d.comb += Assert(block.o.valid & (block.o.payload == payload))

    def _invariants(self, m, inside):
        """What an induction must know of the block's state besides."""


class OrderedSkid(Ordered):
    """`Ordered`, with what is in the second register."""

    def _invariants(self, m, inside):
        """The second register holds the second word."""
        m.d.comb += Assert(self.block.waits == (inside == 2))
        with m.If(self._is_inside & (self._place == 1)):
            m.d.comb += Assert(self.block.second == self._value)


class DropRule(wiring.Component):
    """`TokenDrop` keeps row 0 and those with count * e * 2^16 >= eta * sum, in their order.

    Solvers take hours for a multiplier. So in its place is any function of two numbers at all: what
    it gives for (eta, sum) and for (`watched`, count) is left to the solver, and so is `watched`,
    the exponential of the rows that are looked at. What it gives for others differs from cycle to
    cycle.
    """

    CONFIG = HARDWARE["edgebert"]

    def __init__(self, token_drop):
        functions = {"_multiply": lambda block, a, b: self._function(block, a, b)}
        self._block = type("AnyFunction", (token_drop,), functions)(self.CONFIG)
        ports = self._block.signature.members
        kept = unsigned(EXPONENTIAL.width + len(self._block.count))
        limit = unsigned(ETA.width + len(self._block.sum))
        super().__init__(
            {
                "i": In(stream.Signature(self._block.i.payload.shape())),
                "ready": In(1),
                **{name: In(ports[name].shape) for name in ("count", "sum", "eta")},
                "watched": In(EXPONENTIAL),
                "product": In(kept),
                "limit": In(limit),
                "other": In(limit),
            }
        )

    def _function(self, block, a, b):
        """Equal for equal numbers, where it matters."""
        return Mux(
            (a == block.eta) & (b == block.sum),
            self.limit,
            Mux((a == self.watched) & (b == block.count), self.product, self.other),
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = block = self._block
        number = Signal.like(block.o.payload.index)
        begun = Signal()
        now = Cat(self.count, self.sum, self.eta, self.watched, self.product, self.limit)
        constants = Signal(len(now))
        alike = (self.watched == self.eta) & (self.count == self.sum)
        m.d.comb += [
            block.i.valid.eq(self.i.valid),
            block.i.payload.eq(self.i.payload),
            self.i.ready.eq(block.i.ready),
            block.o.ready.eq(self.ready),
            *(getattr(block, name).eq(getattr(self, name)) for name in ("count", "sum", "eta")),
            Assume((self.count != 0) & (self.count <= self.CONFIG.positions)),
            Assume(~alike | (self.product == self.limit)),
            Assume(~begun | (constants == now)),
        ]
        m.d.sync += [
            begun.eq(1),
            constants.eq(now),
        ]
        out = block.o.payload
        with m.If(block.o.valid):
            m.d.comb += [
                Assert(out.index == number),
                Assert(out.last == (number == self.count - 1)),
            ]
        with m.If(block.o.valid & (out.exponential == self.watched)):
            m.d.comb += Assert(
                out.keep == ((number == 0) | ((self.product << ETA_FRAC) >= self.limit))
            )
        with m.If(block.o.valid & block.o.ready):
            m.d.sync += number.eq(Mux(out.last, 0, number + 1))
        return m


STREAM = "hw.stream"
STREAMS = (
    Property(
        "RegisterSlice: nothing lost, twice, late or changed",
        f"{STREAM}:RegisterSlice",
        lambda block: Ordered(block(WORD), 1),
        3,
        True,
        (
            Mutant("self.i.ready.eq(~self.o.valid | self.o.ready)", "self.i.ready.eq(1)"),
            Mutant(
                "self.o.valid.eq(self.i.valid),\n                payload",
                "self.o.valid.eq(1),\n                payload",
            ),
        ),
    ),
    Property(
        "Skid: nothing lost, twice, late or changed",
        f"{STREAM}:Skid",
        lambda block: OrderedSkid(block(WORD), 2),
        3,
        True,
        (
            Mutant("with m.If(~waits):", "with m.If(~waits & ~self.o.valid):"),
            Mutant("waits.eq(waits | self.i.valid)", "waits.eq(self.i.valid)"),
            Mutant("first.eq(Mux(waits,", "first.eq(Mux(~waits,"),
        ),
    ),
    *(
        Property(
            f"Fifo of {depth}: nothing lost, twice or changed",
            f"{STREAM}:Fifo",
            lambda block, depth=depth: Ordered(block(WORD, depth), depth),
            12,
            False,
            (
                Mutant("self.i.ready.eq(queue.w_rdy)", "self.i.ready.eq(1)"),
                Mutant("queue.r_en.eq(self.o.ready)", "queue.r_en.eq(1)"),
            ),
            quick=depth == 1,
        )
        for depth in (1, 3)
    ),
    Property(
        "TokenDrop of edgebert: the golden inequality, in the rows' order",
        "hw.decide.token_drop:TokenDrop",
        DropRule,
        12,
        False,
        (
            Mutant("((product << ETA_FRAC) >= limit)", "((product << ETA_FRAC) > limit)"),
            Mutant("(row.index == 0) | ", ""),
            Mutant("limit.eq(product)", "limit.eq(product >> 1)"),
        ),
    ),
)
