# SPDX-License-Identifier: Apache-2.0
"""Output streams that hold what they offer as long as the block's users keep to their side."""

from amaranth import Cat, Const, Mux, Signal, Value
from amaranth.hdl import Assert, Assume

from hw.array.mac_lane import WINDOW
from hw.rows.layouts import RowCommand
from hw.shapes import WORDS
from sim.prove.held import Stable, moves
from sim.prove.properties.stable import CONFIG, CYCLES, WIDE_BUS
from sim.prove.prover import Mutant, Property

__all__ = ["CONTRACTS"]


class Aborted(Stable):
    """A stream is withdrawn by the inputs that `cuts` names for it, and by nothing else."""

    def __init__(self, block, steady, cuts):
        self._cuts = cuts
        super().__init__(block, steady)

    def _withdraws(self, name):
        inputs = [getattr(self.block, cut) for cut in self._cuts.get(name, ())]
        return Cat(Value.cast(cut).any() for cut in inputs).any()


class Embedded(Aborted):
    """`Embedder`: tokens may be withdrawn at any time, as the core does when its program ends."""

    def _withdraws(self, name):
        return Const(1) if name == "i" else super()._withdraws(name)


class Answered(Stable):
    """`Fetch`: from a request until its last bus word, and then only, words come."""

    def _contract(self, m):
        block = self.block
        owed = Signal()
        end = moves(block.data) & block.data.payload.last
        m.d.sync += owed.eq(moves(block.o_request) | (owed & ~end))
        states = Cat(block.fsm.ongoing(state) for state in ("IDLE", "REQUEST", "WORDS"))
        m.d.comb += [
            Assume(~block.data.valid | owed),
            Assert(owed == states[-1]),
            Assert(states.any()),
        ]


class Windowed(Stable):
    """`MacLane`: a group stays in the window until it has moved through it, a place an `advance`.

    That comes when the lane's column of the first group has been taken, which happens once. What
    the lane offers in that cycle already, of the next group, may then change. A dense group's
    columns have no bias and no destination.
    """

    def _word(self, name):
        word = super()._word(name)
        if name != "o":
            return word
        headed = Cat(word.bias, word.destination)
        return Cat(word.accumulators, Mux(self.block.window[0].dense, 0, headed))

    def _withdraws(self, name):
        return self.block.advance if name == "o" else Const(0)

    def _contract(self, m):
        """The window, from cycle to cycle."""
        block = self.block
        window = [Value.cast(block.window[n]) for n in range(WINDOW)]
        valid = [block.window[n].valid for n in range(WINDOW)]
        before = [Signal.like(group, name=f"before_{n}") for n, group in enumerate(window)]
        was = [Signal(name=f"was_{n}") for n in range(WINDOW)]
        advanced = Signal()
        had = Signal()  # the first group's column was taken
        m.d.sync += [
            *(old.eq(group) for old, group in zip(before, window, strict=True)),
            *(old.eq(Cat(valid[: n + 1]).all()) for n, old in enumerate(was)),
            advanced.eq(block.advance),
            had.eq((had | moves(block.o)) & ~block.advance),
        ]
        m.d.comb += [
            Assume(~block.advance | had | moves(block.o)),
            Assume(~block.o.ready | ~had),
            *(Assume(~was[n] | advanced | (window[n] == before[n])) for n in range(WINDOW)),
            *(
                Assume(~was[n + 1] | ~advanced | (window[n] == before[n + 1]))
                for n in range(WINDOW - 1)
            ),
        ]


class Admitted(Stable):
    """`Admission`: a new queue begins while it rests; a command has the fields that it names."""

    def _word(self, name):
        word = super()._word(name)
        if name != "o_rows":
            return word
        # `physical` is of APPEND alone: rows of the next sentence arrive while others are given.
        return Cat(
            word.command,
            word.slot,
            word.position,
            word.sentence,
            word.mask,
            word.release,
            Mux(word.command == RowCommand.APPEND, word.physical, 0),
        )

    def _contract(self, m):
        block = self.block
        offers = block.o_rows.valid | block.o_begin.valid | block.o_finish.valid
        m.d.comb += [
            Assume(~block.restart | ~offers),
            Assert(~block.o_begin.valid | block.i_sentence.valid),
        ]


class Staged(Stable):
    """`Staging`: words come that were asked for, and each token given to the embedder ends once."""

    def _contract(self, m):
        block = self.block
        owed = Signal(WORDS)  # words to come
        inside = Signal(WORDS)  # tokens that the embedder has
        asked = moves(block.o_read)
        m.d.sync += [
            owed.eq(Mux(asked, block.o_read.payload.words, owed - moves(block.words))),
            inside.eq(inside + moves(block.o_token) - moves(block.token_done)),
        ]
        m.d.comb += [
            Assume(~block.words.valid | (owed != 0)),
            Assume(~block.token_done.valid | (inside != 0)),
        ]


# Monitor, block, what it is made of, further arguments of the monitor, k of the induction (0:
# bounded), cycles of a bounded proof, and mutants.
ROWS = (
    (
        Answered,
        "hw.bus.fetch:Fetch",
        (WIDE_BUS,),
        (),
        1,
        CYCLES,
        (
            Mutant("words.o.ready.eq(self.o.ready | ~wanted)", "words.o.ready.eq(1)"),
            Mutant("with m.If(words.o.valid & words.o.ready):", "with m.If(words.o.valid):"),
        ),
    ),
    (
        Aborted,
        "hw.bus.dma:Reader",
        (CONFIG,),
        ((), {"o": ("abort",)}),
        2,
        CYCLES,
        (
            Mutant(
                "ResetInserter(discard)(output)",
                "ResetInserter(discard | (self.error != 0))(output)",
            ),
        ),
    ),
    (
        Aborted,
        "hw.bus.loader:Loader",
        (CONFIG,),
        (
            ("image_base", "image_size", "embedding_base", "embedding_size"),
            {
                "o_request": ("abort",),
                "o_embedding_request": ("abort",),
                "o_constant": ("abort", "i_error"),
                "i_data": ("abort", "i_error"),
                "i_embedding_data": ("abort", "i_embedding_error"),
            },
        ),
        1,
        CYCLES,
        (Mutant("with m.If(port.ready):", "with m.If(1):"),),
    ),
    (
        Windowed,
        "hw.array.mac_lane:MacLane",
        (CONFIG,),
        (("reduction", "groups"),),
        0,
        CYCLES,
        (
            Mutant("ends.eq(self._valid & last & ~filled)", "ends.eq(self._valid & last)"),
            Mutant("filled.eq((filled & ~taken) | ends)", "filled.eq(ends)"),
        ),
    ),
    (
        Admitted,
        "hw.queue.admission:Admission",
        (CONFIG,),
        (),
        1,
        CYCLES,
        (
            Mutant(
                "with m.If(self.o_rows.ready):\n            m.next = following",
                "with m.If(1):\n            m.next = following",
            ),
            Mutant("with m.If(self.o_begin.ready):", "with m.If(1):"),
            Mutant("with m.If(self.o_finish.ready):", "with m.If(1):"),
        ),
    ),
    (
        Staged,
        "hw.queue.staging:Staging",
        (CONFIG,),
        (("queue", "count", "positions"),),
        0,
        14,
        (
            Mutant("tokens.o.ready.eq(given)", "tokens.o.ready.eq(self.i_free.valid)"),
            Mutant("with m.If(self.o_read.ready):", "with m.If(1):"),
        ),
    ),
    (
        Embedded,
        "hw.queue.embedding:Embedder",
        (CONFIG,),
        (
            ("base", "size", "table", "loading"),
            {"o_done": ("abort",), "o_data": ("abort",)},
        ),
        0,
        CYCLES,
        (Mutant("with m.If(self.o_done.ready):", "with m.If(1):"),),
    ),
)
SLOW = {"MacLane", "Staging", "Embedder"}
CONTRACTS = tuple(
    Property(
        f"{name.partition(':')[2]}: every output stream holds what it offers, by contract",
        name,
        lambda block, monitor=monitor, parts=parts, more=more: monitor(block(*parts), *more),
        k or cycles,
        bool(k),
        mutants,
        mutant_depth=20,
        quick=name.partition(":")[2] not in SLOW,
    )
    for monitor, name, parts, more, k, cycles, mutants in ROWS
)
