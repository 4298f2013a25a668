# SPDX-License-Identifier: Apache-2.0
"""Every output stream of a block holds what it offers until it is taken."""

from amaranth import Const, Module, Signal, Value, unsigned
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from golden_model.hardware import HardwareConfig
from hw.rows.gather import gather_request_layout
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["STABLE", "Stable"]

CONFIG = tiny_machine(weight_depth=8)
WIDE_BUS = HardwareConfig(tokens=2, columns=2, bus_bits=64)
POINT = gather_request_layout()
WORD = unsigned(3)
CYCLES = 12  # of a bounded proof


class Stable(wiring.Component):
    """A block whose ports are all free: what an output stream offers stays until it is taken.

    Assumed is what the block's docstring asks of its users: a word offered to it stays as well, and
    the ports `steady` do not change and those of `once` are high in one cycle at most.
    """

    def __init__(self, block, steady=(), once=()):
        self.block = block
        self._steady = steady
        self._once = once
        super().__init__(dict(block.signature.members))

    def elaborate(self, platform):
        m = Module()
        block = self.block
        # Its states are known when it is made.
        m.submodules.block = Fragment.get(block, platform)
        self._connect(m)
        begun = Signal()
        m.d.sync += begun.eq(1)
        for name in self._steady:
            now = Value.cast(getattr(block, name))
            before = Signal.like(now, name=f"{name}_before")
            m.d.sync += before.eq(now)
            m.d.comb += Assume(~begun | (now == before))
        for name in self._once:
            pulse = getattr(block, name)
            came = Signal(name=f"{name}_came")
            m.d.sync += came.eq(came | pulse)
            m.d.comb += Assume(~(came & pulse))
        self._contract(m)
        for name, member in block.signature.members.items():
            single = member.is_signature and not member.dimensions
            if single and isinstance(member.signature, stream.Signature):
                self._hold(m, name, Assert if member.flow == Out else Assume)
        return m

    def _connect(self, m):
        """The block's ports are this component's."""
        wiring.connect(m, wiring.flipped(self), self.block)

    def _hold(self, m, name, check):
        """The stream's word stays while it is not taken, and nothing may withdraw it."""
        port = getattr(self.block, name)
        word = Value.cast(self._word(name))
        waits = Signal(name=f"{name}_waits")
        held = Signal.like(word, name=f"{name}_held")
        m.d.sync += [
            waits.eq(port.valid & ~port.ready & ~self._withdraws(name)),
            held.eq(word),
        ]
        m.d.comb += check(~waits | self._yields(name) | (port.valid & (word == held)))

    def _word(self, name):
        """Of what a stream offers, what must stay."""
        return getattr(self.block, name).payload

    def _withdraws(self, name):
        """Whether a cycle may be the last one of a word that is not taken."""
        return Const(0)

    def _yields(self, name):
        """Whether a word that waited may be gone in this cycle."""
        return Const(0)

    def _contract(self, m):
        """What the block's docstring asks of its users besides."""


OPERATION = ("instruction", "mask", "slots")  # what an engine keeps while it works
# Block, what it is made of, ports that are steady, ports that pulse once, k of the induction (0:
# bounded), and mutants.
BLOCKS = (
    (
        "hw.rows.tiles:TileIterator",
        (CONFIG,),
        ("slots",),
        (),
        1,
        (Mutant("with m.If(~self.o.valid | self.o.ready):", "with m.If(1):"),),
    ),
    (
        "hw.attention.turns:Turns",
        (CONFIG,),
        (),
        (),
        1,
        (Mutant("with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):"),),
    ),
    (
        "hw.decide.contribution:Contribution",
        (CONFIG,),
        ("count", "align"),
        (),
        1,
        (Mutant("read.en.eq(~self.o.valid | self.o.ready)", "read.en.eq(1)"),),
    ),
    (
        "hw.decide.token_drop:TokenDrop",
        (CONFIG,),
        ("count", "sum", "eta"),
        (),
        1,
        (Mutant("enable.eq(~self.o.valid | self.o.ready)", "enable.eq(1)"),),
    ),
    (
        "hw.queue.record:RecordMemory",
        (CONFIG,),
        (),
        (),
        2,
        (Mutant("port.en.eq(~self.o.valid | self.o.ready)", "port.en.eq(1)"),),
    ),
    (
        "hw.array.ring:Ring",
        (WORD, 4),
        (),
        (),
        1,
        (Mutant("move.eq(~self.o.valid | self.o.ready)", "move.eq(1)"),),
    ),
    (
        "hw.buffer:Buffer",
        (WORD, 2, 4),
        (),
        (),
        1,
        (Mutant("advance.eq(~self.o.valid | self.o.ready)", "advance.eq(1)"),),
    ),
    (
        "hw.buffer:Turn",
        (WORD, 2, 2),
        ("cut",),
        (),
        1,
        (Mutant("give.eq(self.o.valid & self.o.ready)", "give.eq(self.o.valid)"),),
    ),
    (
        "hw.bus.words:Words",
        (WIDE_BUS,),
        ("clear",),
        (),
        2,
        (Mutant("with m.Elif(self.o.valid & self.o.ready):", "with m.Elif(self.o.valid):"),),
    ),
    (
        "hw.array.store:Store",
        (CONFIG,),
        (),
        (),
        1,
        (Mutant("~score | self.scores.ready | padding", "1"),),
    ),
    (
        "hw.array.bitmask:ColumnDecoder",
        (CONFIG,),
        (),
        (),
        0,
        (Mutant("with m.If(self.o_header.ready):", "with m.If(1):"),),
    ),
    (
        "hw.array.linear:Tiles",
        (CONFIG,),
        ("cls", "slots"),
        (),
        0,
        (
            Mutant(
                "with m.Elif((left != 0) & (~self.o.valid | self.o.ready)):",
                "with m.Elif(left != 0):",
            ),
        ),
    ),
    (
        "hw.array.linear:Linear",
        (CONFIG,),
        OPERATION,
        ("start",),
        0,
        (Mutant("with m.If((self.o_load.ready | ~load)", "with m.If((1 | ~load)"),),
    ),
    (
        "hw.array.norm:Norm",
        (CONFIG, POINT),
        (*OPERATION, "follow", "taken", "pointed", "pointers", "sum_index"),
        ("start",),
        0,
        (
            Mutant("with m.If(self.gather_request.ready):", "with m.If(1):"),
            Mutant(
                "with m.If(self.sum_request.valid & self.sum_request.ready):",
                "with m.If(self.sum_request.valid):",
            ),
        ),
    ),
    (
        "hw.array.operand:Operand",
        (CONFIG, POINT),
        ("source", "features"),
        (),
        0,
        (Mutant("encoder.o.ready.eq(self.o.ready)", "encoder.o.ready.eq(1)"),),
    ),
    (
        "hw.attention.feed:Feeder",
        (CONFIG,),
        ("length", "stride", "slots"),
        (),
        0,
        (Mutant("moved = self.o_dense.valid & self.o_dense.ready", "moved = self.o_dense.valid"),),
    ),
    (
        "hw.attention.turns:Items",
        (CONFIG,),
        OPERATION,
        ("start",),
        0,
        (Mutant("with m.If(self.o.ready):", "with m.If(1):"),),
    ),
    (
        "hw.decide.drop:Drop",
        (CONFIG,),
        (*OPERATION, "layer"),
        ("start",),
        0,
        (Mutant("tiles.ready.eq(self.scores_request.ready)", "tiles.ready.eq(1)"),),
    ),
    (
        "hw.decide.exit:Exit",
        (CONFIG,),
        (*OPERATION, "threshold"),
        ("start",),
        0,
        (Mutant("with m.If(self.scores_request.ready):", "with m.If(1):"),),
    ),
    (
        "hw.program.prefetch:Prefetch",
        (CONFIG,),
        ("base", "size"),
        (),
        0,
        (Mutant("self.o_request.ready & arriving.i.ready)", "arriving.i.ready)"),),
    ),
    (
        "hw.queue.embedding_table:RowFetcher",
        (CONFIG,),
        ("base", "size", "table"),
        (),
        0,
        (
            Mutant(
                "with m.If(self.o_request.valid & self.o_request.ready):",
                "with m.If(self.o_request.valid):",
            ),
        ),
    ),
    (
        "hw.rows.gather:Gather",
        (CONFIG,),
        ("follow", "progress", "starts"),
        (),
        0,
        (
            Mutant(
                "with m.If(self.state_request.valid & self.state_request.ready):",
                "with m.If(self.state_request.valid):",
            ),
        ),
    ),
    (
        "hw.rows.slot_walk:SlotWalk",
        (CONFIG,),
        ("slots",),
        ("start",),
        0,
        (Mutant("with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):"),),
    ),
)
SLOW = {
    "hw.array.store:Store",
    "hw.attention.feed:Feeder",
    "hw.decide.exit:Exit",
    "hw.program.prefetch:Prefetch",
    "hw.queue.embedding_table:RowFetcher",
}
STABLE = tuple(
    Property(
        f"{name.partition(':')[2]}: every output stream holds what it offers",
        name,
        lambda block, parts=parts, steady=steady, once=once: Stable(block(*parts), steady, once),
        k or CYCLES,
        bool(k),
        mutants,
        mutant_depth=20,
        quick=name not in SLOW,
    )
    for name, parts, steady, once, k, mutants in BLOCKS
)
