# SPDX-License-Identifier: Apache-2.0
"""More blocks whose output streams hold what they offer, on a board and in pipelines too."""

from amaranth import Cat
from amaranth.hdl import Assert, Assume

from hw.decide.exit import Exit
from hw.queue.admission import Admission
from sim.prove.held import Stable
from sim.prove.properties.stable import CONFIG, CYCLES
from sim.prove.prover import Mutant, Property
from sim.prove.shared import FlashRuns, MemoryRuns, Requests, TakenWhenDone

__all__ = ["PORTS"]


class Instructions(Stable):
    """`Sequencer`: it is started while it rests."""

    def _contract(self, m):
        block = self.block
        # An instruction moves in its state alone, as `Sequenced` has it.
        moving = block._program.moving
        m.d.comb += [
            Assume(~block.start | ~block.busy),
            Assert((moving == 0) | block.fsm.ongoing("FETCHED")),
            Assert((moving & (moving - 1)) == 0),
        ]


class Ended(Stable):
    """`Results`: one engine works, so who ends a sentence waits alone."""

    def _contract(self, m):
        block = self.block
        ends = Cat(block.failure.valid, block.success.valid)
        m.d.comb += [
            Assume((ends & (ends - 1)) == 0),
            Assume(~(block.begin.valid & ends.any())),
        ]


class Drained(Stable):
    """`Drain`, of lanes that may offer anything."""

    def _connect(self, m):
        block = self.block
        m.d.comb += [
            block.group.eq(self.group),
            block.o.ready.eq(self.o.ready),
        ]
        # An array of streams is connected one by one.
        for ours, theirs in zip(self.i, block.i, strict=True):
            m.d.comb += [
                theirs.valid.eq(ours.valid),
                theirs.payload.eq(ours.payload),
            ]


def result_parts():
    """What `Results` is made of, as in the core."""
    admission, leave = Admission(CONFIG), Exit(CONFIG)
    ports = admission.o_begin, admission.o_finish, leave.o_finish
    return (
        CONFIG,
        *(port.payload.shape() for port in ports),
        leave.logit.shape(),
        leave.verdict.shape(),
    )


def taken_at_once(line, queue, o):
    """A mutant: the words of a `queue` go on whether they are taken or not."""
    return Mutant(
        line,
        f"m.d.comb += [{o}.valid.eq({queue}.valid), {o}.payload.eq({queue}.payload),"
        f" {queue}.ready.eq(1)]",
    )


UNSTALLED = Mutant("Pipeline(m, self.i, self.o)", "Pipeline(m, self.i, self.o, stalls=False)")
STALLS_NEVER = Mutant("self.o, stalls=self._stalls)", "self.o, stalls=False)")
PROGRAM = ("program", "instructions", "layers", "classes", "heads", "embedding", "present")
ARITH = "hw.arith"
BOARD = "hw.board"
# Monitor, block, what it is made of, ports that are steady, k of the induction (0: bounded), and
# mutants.
ROWS = (
    (Stable, f"{ARITH}.requantize:Requantize", (CONFIG,), ("shift",), 1, (UNSTALLED,)),
    (Stable, f"{ARITH}.exponential:Exponential", (), ("align",), 1, (UNSTALLED,)),
    (Stable, f"{ARITH}.functions:Reciprocal", (18,), (), 1, (UNSTALLED,)),
    (Stable, f"{ARITH}.functions:Rsqrt", (18,), (), 1, (UNSTALLED,)),
    (Stable, f"{ARITH}.adaptivfloat:Encoder", (CONFIG,), ("offset",), 1, (STALLS_NEVER,)),
    (Stable, f"{ARITH}.gelu:Activation", (CONFIG,), (), 1, (STALLS_NEVER,)),
    (Stable, "hw.array.normalize:Normalize", (CONFIG,), ("shift",), 1, (STALLS_NEVER,)),
    (Stable, "hw.attention.span_mask:SpanMask", (CONFIG,), (), 1, (UNSTALLED,)),
    (
        Stable,
        "hw.attention.softmax:Softmax",
        (CONFIG,),
        ("length", "align", "head", "query_positions"),
        0,
        (Mutant("with m.If(self.o_denominator.ready):", "with m.If(1):"),),
    ),
    (
        Drained,
        "hw.array.drain:Drain",
        (CONFIG,),
        (),
        0,
        (taken_at_once("wiring.connect(m, queue.o, wiring.flipped(self.o))", "queue.o", "self.o"),),
    ),
    (
        Stable,
        "hw.rows.rows:Rows",
        (CONFIG,),
        (),
        0,
        (
            taken_at_once(
                "wiring.connect(m, free_list.o, wiring.flipped(self.o_free))",
                "free_list.o",
                "self.o_free",
            ),
        ),
    ),
    (
        Instructions,
        "hw.program.sequencer:Sequencer",
        (CONFIG,),
        PROGRAM,
        1,
        (
            Mutant("with m.If(self.o_fetch.ready):", "with m.If(1):"),
            Mutant("with m.If(self.o_operation.ready):", "with m.If(1):"),
        ),
    ),
    (
        Ended,
        "hw.queue.results:Results",
        result_parts(),
        ("base", "size"),
        0,
        (Mutant("with m.If(self.o_request.ready):", "with m.If(1):"),),
    ),
    (
        Requests,
        "hw.bus.reads:Reads",
        (CONFIG,),
        (),
        0,
        (
            Mutant("chosen = ~short.valid", "chosen = long.valid"),
            Mutant("words.valid & words.ready & words.payload.last", "words.valid"),
        ),
    ),
    (
        FlashRuns,
        f"{BOARD}.flash_port:FlashPort",
        (),
        (),
        1,
        (
            Mutant("with m.If(self.i.valid):", "with m.If(self.i.valid & ~bus.arvalid):"),
            Mutant("words.ready.eq(self.o.ready)", "words.ready.eq(1)"),
        ),
    ),
    (
        MemoryRuns,
        f"{BOARD}.memory_port:MemoryPort",
        (),
        (),
        0,
        (
            Mutant(
                "with m.Elif(bus.awvalid):",
                "with m.Elif(bus.awvalid & ~bus.arvalid):",
            ),
            Mutant("with m.If(valid & self.o.ready):", "with m.If(valid):"),
        ),
    ),
    (
        TakenWhenDone,
        f"{BOARD}.access:Access",
        (),
        (),
        1,
        (
            Mutant("with m.If(self.flash.ready):", "with m.If(1):"),
            Mutant("with m.If(self.o.ready):", "with m.If(1):"),
        ),
    ),
    (
        Stable,
        f"{BOARD}.copier:ImageCopier",
        (),
        (),
        1,
        (
            Mutant("with m.Elif(self.flash.ready):", "with m.Elif(1):"),
            Mutant("with m.If(self.memory.ready):", "with m.If(1):"),
        ),
    ),
    (
        Stable,
        f"{BOARD}.flash:Flash",
        (),
        (),
        1,
        (
            # A word itself takes 160 cycles.
            Mutant(
                "m.d.comb += self.i.ready.eq(1)",
                "m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(self.taken)]",
            ),
        ),
    ),
    (
        Stable,
        f"{BOARD}.bridge:Bridge",
        (3,),
        (),
        1,
        (
            Mutant("with m.If(self.o_access.ready):", "with m.If(1):"),
            Mutant("moved = self.o.valid & self.o.ready", "moved = self.o.valid"),
        ),
    ),
)
DEPTHS = {"Results": 16, "Softmax": 18}  # cycles until all streams have offered something
# Whose proof takes long, or whose mutants do.
SLOW = {"Results", "Rows", "MemoryPort", "Softmax", "Sequencer"}
SLOW_MUTANTS = {"Results", "Activation", "Normalize", "Softmax", "Sequencer"}
PORTS = tuple(
    Property(
        f"{name.partition(':')[2]}: every output stream holds what it offers",
        name,
        lambda block, monitor=monitor, parts=parts, steady=steady: monitor(block(*parts), steady),
        k or DEPTHS.get(name.partition(":")[2], CYCLES),
        bool(k),
        mutants,
        mutant_depth=20,
        quick=name.partition(":")[2] not in SLOW,
        quick_mutants=name.partition(":")[2] not in SLOW_MUTANTS,
    )
    for monitor, name, parts, steady, k, mutants in ROWS
)
