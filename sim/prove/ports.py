# SPDX-License-Identifier: Apache-2.0
"""Streams of those who share a port, and others': what they offer stays until it is taken.

Where several share a port, who goes first takes the place of a word that waits.
"""

from amaranth import Cat, Const, Mux, Signal
from amaranth.hdl import Assert, Assume

from hw.decide.exit import Exit
from hw.queue.admission import Admission
from sim.prove.contracts import moves
from sim.prove.prover import Mutant, Property
from sim.prove.stable import CONFIG, CYCLES, Stable

__all__ = ["PORTS"]

ADDRESS_WORDS = ("addr", "len")
DATA_WORDS = ("data", "strb", "last")


class _Shared(Stable):
    """A port gives what waits on it away when somebody comes who goes first.

    Managers of its bus hold what they offer on `channels`.
    """

    port = ""
    channels: dict = {}

    def _first(self):
        """Who goes first, the very first one ahead: valid bits."""
        raise NotImplementedError

    def _yields(self, name):
        return self._came if name == self.port else Const(0)

    def _contract(self, m):
        self._came = Const(0)
        # Who comes behind one that is there already changes nothing.
        for at, valid in reversed(list(enumerate(self._first()))):
            before = Signal(name=f"first_{at}_before")
            m.d.sync += before.eq(valid)
            self._came = Mux(valid, ~before, self._came)
        for channel, words in self.channels.items():
            self._channel(m, channel, words)

    def _channel(self, m, channel, words):
        """A manager's address or data stays until it is taken."""
        bus = self.block.bus
        word = Cat(getattr(bus, f"{channel}{name}") for name in words)
        valid = getattr(bus, f"{channel}valid")
        waits = Signal(name=f"{channel}_waits")
        held = Signal(len(word), name=f"{channel}_held")
        m.d.sync += [
            waits.eq(valid & ~getattr(bus, f"{channel}ready")),
            held.eq(word),
        ]
        m.d.comb += Assume(~waits | (valid & (word == held)))


class Requests(_Shared):
    """`Reads`: a weight stream's request gives way to a short run's."""

    port = "o_request"

    def _first(self):
        return [self.block.i_short.valid]

    def _yields(self, name):
        return super()._yields(name) & self.block.o_request.valid


class FlashRuns(_Shared):
    """`FlashPort`: a burst gives way to a run of words."""

    port = "run"
    channels = {"ar": ADDRESS_WORDS}

    def _first(self):
        return [self.block.i.valid]

    def _yields(self, name):
        return super()._yields(name) & self.block.run.valid


class MemoryRuns(_Shared):
    """`MemoryPort`: a read gives way to a write, and both to a single word.

    An answer has a word if it is a read's, and no error.
    """

    port = "run"
    channels = {"aw": ADDRESS_WORDS, "w": DATA_WORDS, "ar": ADDRESS_WORDS}

    def _first(self):
        return [self.block.i.valid, self.block.bus.awvalid]

    def _word(self, name):
        word = super()._word(name)
        if name != "o":
            return word
        return Cat(word.error, Mux(word.error | self.block.i.payload.write, 0, word.data))


class TakenWhenDone(Stable):
    """`Access`: the memory takes a word in the cycle in which it answers it."""

    def _contract(self, m):
        m.d.comb += Assume(~moves(self.block.memory_done) | self.block.memory.ready)


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
SLOW_MUTANTS = {"Activation", "Normalize", "Softmax", "Sequencer"}
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
