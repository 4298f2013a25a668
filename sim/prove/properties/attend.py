# SPDX-License-Identifier: Apache-2.0
"""ATTEND's blocks, and those whose first result comes late: output streams hold what they offer."""

from dataclasses import dataclass

from amaranth import Signal
from amaranth.hdl import Assume

from hw.array.store import Store
from sim.prove.held import Stable, moves
from sim.prove.properties.stable import CONFIG, CYCLES, OPERATION
from sim.prove.prover import Mutant, Property

__all__ = ["ATTEND"]

SCORES = Store(CONFIG).scores.payload.shape()
ANNOUNCED = Mutant("with m.If(self.o_group.ready):", "with m.If(1):")


class Paired(Stable):
    """A walker gives a request and its run at once: who is ready for one stays so until then."""

    def _contract(self, m):
        for name in ("o_request", "o_run"):
            port = getattr(self.block, name)
            ready = Signal(name=f"{name}_ready")
            m.d.sync += ready.eq(port.ready & ~moves(port))
            m.d.comb += Assume(~ready | port.ready)


@dataclass(frozen=True)
class Row:
    """A block's monitor, what the block is made of, ports that are steady, ports that pulse once.

    depth : k of an induction; cycles of a bounded proof, until all streams have offered something
    """

    monitor: type
    block: str
    parts: tuple
    steady: tuple
    once: tuple
    depth: int
    inductive: bool
    mutant: Mutant
    mutant_depth: int = 20
    quick: bool = True
    quick_mutants: bool = True

    def property(self):
        """What `prove` takes."""
        return Property(
            f"{self.block.partition(':')[2]}: every output stream holds what it offers",
            self.block,
            lambda block: self.monitor(block(*self.parts), self.steady, self.once),
            self.depth,
            self.inductive,
            (self.mutant,),
            self.quick,
            self.mutant_depth,
            self.quick_mutants,
        )


ROWS = (
    Row(
        Paired,
        "hw.attention.walkers:KeyWalker",
        (CONFIG,),
        ("length", "stride", "slots"),
        (),
        CYCLES,
        False,
        ANNOUNCED,
    ),
    Row(
        Paired,
        "hw.attention.walkers:ValueWalker",
        (CONFIG,),
        ("length",),
        (),
        CYCLES,
        False,
        ANNOUNCED,
    ),
    Row(
        Stable,
        "hw.attention.scoring:Scoring",
        (CONFIG, SCORES),
        ("align",),
        (),
        18,
        False,
        Mutant("with m.If(self.o_point.ready):", "with m.If(1):"),
        quick=False,
    ),
    Row(
        Stable,
        "hw.attention.attention:Attention",
        (CONFIG, SCORES),
        OPERATION,
        ("start",),
        CYCLES,
        False,
        Mutant("asked | query & self.o_load.ready", "asked | query"),
        quick=False,
        quick_mutants=False,
    ),
    Row(
        Stable,
        "hw.decide.entropy:Entropy",
        (CONFIG,),
        ("align", "threshold"),
        (),
        1,
        True,
        Mutant(
            "with m.If(self.o.ready):\n                m.next",
            "with m.If(1):\n                m.next",
        ),
        mutant_depth=36,
        quick_mutants=False,
    ),
    Row(
        Stable,
        "hw.array.layernorm:LayerNorm",
        (CONFIG,),
        ("length", "set", "shift", "bypass"),
        (),
        32,
        False,
        Mutant("Pipeline(m, features, self.o)", "Pipeline(m, features, self.o, stalls=False)"),
        mutant_depth=32,
        quick=False,
        quick_mutants=False,
    ),
)
ATTEND = tuple(row.property() for row in ROWS)
