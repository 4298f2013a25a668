# SPDX-License-Identifier: Apache-2.0
"""ATTEND's blocks, and those whose first result comes late: output streams hold what they offer."""

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


def _holds(block, build, depth, inductive, mutant, mutant_depth=20, **quick):
    """The property of a block; `depth` cycles, if bounded, are until all streams have offered."""
    name = f"{block.partition(':')[2]}: every output stream holds what it offers"
    return Property(
        name, block, build, depth, inductive, (mutant,), mutant_depth=mutant_depth, **quick
    )


ATTEND = (
    _holds(
        "hw.attention.walkers:KeyWalker",
        lambda block: Paired(block(CONFIG), ("length", "stride", "slots")),
        CYCLES,
        False,
        ANNOUNCED,
    ),
    _holds(
        "hw.attention.walkers:ValueWalker",
        lambda block: Paired(block(CONFIG), ("length",)),
        CYCLES,
        False,
        ANNOUNCED,
    ),
    _holds(
        "hw.attention.scoring:Scoring",
        lambda block: Stable(block(CONFIG, SCORES), ("align",)),
        18,
        False,
        Mutant("with m.If(self.o_point.ready):", "with m.If(1):"),
        quick=False,
    ),
    _holds(
        "hw.attention.attention:Attention",
        lambda block: Stable(block(CONFIG, SCORES), OPERATION, ("start",)),
        CYCLES,
        False,
        Mutant("asked | query & self.o_load.ready", "asked | query"),
        quick=False,
        quick_mutants=False,
    ),
    _holds(
        "hw.decide.entropy:Entropy",
        lambda block: Stable(block(CONFIG), ("align", "threshold")),
        1,
        True,
        Mutant(
            "with m.If(self.o.ready):\n                m.next",
            "with m.If(1):\n                m.next",
        ),
        mutant_depth=36,
        quick_mutants=False,
    ),
    _holds(
        "hw.array.layernorm:LayerNorm",
        lambda block: Stable(block(CONFIG), ("length", "set", "shift", "bypass")),
        32,
        False,
        Mutant("Pipeline(m, features, self.o)", "Pipeline(m, features, self.o, stalls=False)"),
        mutant_depth=32,
        quick=False,
        quick_mutants=False,
    ),
)
