# SPDX-License-Identifier: Apache-2.0
"""Every output stream of a block holds what it offers until it is taken."""

from amaranth import unsigned

from golden_model.hardware import HardwareConfig
from hw.rows.gather import gather_request_layout
from sim.prove.held import Stable
from sim.prove.machines import tiny_machine
from sim.prove.prover import Mutant, Property

__all__ = ["STABLE"]

CONFIG = tiny_machine(weight_depth=8)
WIDE_BUS = HardwareConfig(tokens=2, columns=2, bus_bits=64)
POINT = gather_request_layout()
WORD = unsigned(3)
CYCLES = 12  # of a bounded proof

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
