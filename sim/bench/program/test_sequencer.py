# SPDX-License-Identifier: Apache-2.0
"""hw/program/sequencer.py, program.py and issue.py: programs with every opcode.

They are compared with an interpreter in Python; the engines are Python too.
"""

import random

import cocotb
import pytest
from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import ClockCycles, RisingEdge

from firmware import isa
from firmware.error_codes import Error
from firmware.image import section_bytes, stream_stride
from firmware.image_rules import RULES
from firmware.isa import CAPACITY, ENGINES, Opcode, Select, Target
from hw.program.issue import AHEAD, Issue, operation_layout
from hw.program.sequencer import Sequencer
from sim.bench import harness
from sim.bench.players import pulse, pulses, silence, slot_table, until

PROGRAM = 0x1240
LAYERS = 3
WORD_BYTES = 4
OPCODES = [engine.opcode for engine in ENGINES]
# Beats of a layer's weight stream: its last line of memory is part full, or full.
BEATS = (7, 80)


def every(beats):
    """Every opcode and selection: a layer for each group, the last layer, then all that is left."""
    return [
        (Opcode.ADMIT, {}),
        (Opcode.NORM, {"select": Select.NEW}),
        (Opcode.GROUP, {"target": 7}),
        (
            Opcode.LINEAR,
            {
                "select": Select.GROUP,
                "address": 0x300,
                "beats": beats,
                "stacked": 1,
                "reduction": 33,
                "groups": 2,
            },
        ),
        (Opcode.ATTEND, {"select": Select.GROUP}),
        (Opcode.EXIT, {"select": Select.GROUP}),
        (Opcode.LOOP, {"target": 2}),
        (Opcode.DROP, {"select": Select.NOT_LAST}),
        (
            Opcode.LINEAR,
            {"select": Select.LAST, "address": 0x700, "beats": 3, "reduction": 16, "groups": 9},
        ),
        (Opcode.NORM, {"select": Select.ALL}),
        (Opcode.LOOP, {"target": 0}),
    ]


# What an opcode's fields must have at least, for a model of these sizes.
MODEL = {"layers": LAYERS, "classes": 3, "heads": 2, "embedding": 16}
LEAST = {
    Opcode.ADMIT: {"target_buffer": Target.STATE, "reduction": MODEL["embedding"]},
    Opcode.LINEAR: {"reduction": 1, "groups": 1, "block": 1},
    Opcode.NORM: {"target_buffer": Target.STATE, "reduction": 1},
    Opcode.ATTEND: {"groups": 1, "reduction": 1},
    Opcode.EXIT: {"reduction": MODEL["classes"]},
}


class Front(wiring.Component):
    """Sequencer and Issue, joined as in hw/core.py; ports of Issue are called issue_NAME."""

    def __init__(self, config):
        self.sequencer = Sequencer(config)
        self.issue = Issue(config)
        sequencer = dict(self.sequencer.signature.members)
        issue = dict(self.issue.signature.members)
        for name in ("o_operation", "ended", "resting"):
            del sequencer[name]
        for name in ("i", "restart", "empty"):
            del issue[name]
        super().__init__(sequencer | {f"issue_{name}": issue[name] for name in issue})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = sequencer = self.sequencer
        m.submodules.issue = issue = self.issue
        for name, member in self.signature.members.items():
            block = issue if name.startswith("issue_") else sequencer
            inner = getattr(block, name.removeprefix("issue_"))
            outer = getattr(self, name)
            if member.is_signature:
                wiring.connect(m, inner, wiring.flipped(outer))
            else:
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        wiring.connect(m, sequencer.o_operation, issue.i)
        m.d.comb += [
            issue.restart.eq(self.start),
            issue.empty.eq(self.empty),
            sequencer.ended.eq(issue.ended),
            sequencer.resting.eq(issue.resting),
        ]
        return m


class Machine:
    """The engines' effect on the slots: ADMIT fills free ones, EXIT moves on and releases.

    The queue is a list of {slot: rows}.
    """

    def __init__(self, config, queue):
        self.config, self.queue = config, list(queue)
        self.table = slot_table(config)
        self.empty = 0

    def apply(self, opcode, mask):
        """Returns whether a sentence ends."""
        ends = False
        if opcode == Opcode.ADMIT:
            arrivals = self.queue.pop(0) if self.queue else ()
            for i, slot in enumerate(self.table):
                slot["fresh"] = int(i in arrivals and not slot["resident"])
                if slot["fresh"]:
                    slot.update(resident=1, layer=0, count=2)
            self.empty = int(not any(slot["resident"] for slot in self.table))
        if opcode == Opcode.EXIT:
            for i, slot in enumerate(self.table):
                if mask >> i & 1:
                    slot["layer"] += 1
                    slot["resident"] = int(slot["layer"] < LAYERS)
                    ends |= not slot["resident"]
        return ends

    def mask(self, select, group, last):
        """The slots that an operation works on."""
        every = set(range(len(self.table)))
        chosen = {
            Select.ALL: every,
            Select.NEW: {i for i in every if self.table[i].get("fresh")},
            Select.GROUP: group,
            Select.NOT_LAST: every - last,
            Select.LAST: last,
        }[select]
        return sum(1 << i for i in chosen if self.table[i]["resident"])


def is_legal(config, program, opcode, values):
    """Whether all fields of an instruction are allowed."""
    facts = MODEL | {
        "last": len(program) - 1,
        "longest": config.reduction,
        "widest": config.widest,
    }
    fields = LEAST.get(opcode, {}) | values
    for name, rule in RULES.get(opcode, {}).items():
        value = fields.get(name, 0)
        if isinstance(rule, frozenset):
            if value not in rule:
                return False
        else:
            low, high = (facts[bound] if isinstance(bound, str) else bound for bound in rule)
            if not low <= value <= high:
                return False
    return True


def interpret(machine, program, present=frozenset(OPCODES), limit=500):
    """What a run does: (operations, skipped operations, passes, fault).

    An operation is (pc, opcode, mask, layer of the group or None).
    """
    events = []
    skipped = 0
    passes = 0
    without = 0  # passes since a sentence ended
    steps = 0  # instructions of this pass
    most = CAPACITY * (machine.config.slots + 1)
    pc = 0
    pending = set()
    group = set()
    last = set()
    layer = None
    while len(events) + skipped < limit:
        if pc >= len(program):
            return events, skipped, passes, Error.ILLEGAL_OPCODE
        opcode, values = program[pc]
        steps += 1
        if not is_legal(machine.config, program, opcode, values):
            return events, skipped, passes, Error.ILLEGAL_OPCODE
        if steps > most:
            return events, skipped, passes, Error.ENDLESS
        if opcode == Opcode.LOOP:
            pc = values["target"]
            continue
        if opcode == Opcode.GROUP:
            if pending:
                layer = machine.table[min(pending)]["layer"]
                group = {i for i in pending if machine.table[i]["layer"] == layer}
            else:
                group = set()
            pc = pc + 1 if pending else values["target"]
            pending = pending - group
            continue
        if opcode not in present:
            return events, skipped, passes, Error.ILLEGAL_OPCODE
        mask = machine.mask(values.get("select", Select.ALL), group, last)
        if opcode != Opcode.ADMIT and not mask:
            skipped, pc = skipped + 1, pc + 1
            continue
        events.append((pc, opcode, mask, layer if values.get("select") == Select.GROUP else None))
        if machine.apply(opcode, mask):
            without = 0
        if opcode == Opcode.ADMIT:
            pending = {i for i, slot in enumerate(machine.table) if slot["resident"]}
            last = {i for i in pending if machine.table[i]["layer"] + 1 == LAYERS}
            if machine.empty:
                return events, skipped, passes, 0
            passes += 1
            without += 1
            steps = 0
            if without > LAYERS:
                return events, skipped, passes, Error.ENDLESS
        pc += 1
    raise AssertionError("the program does not end")


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(8)
        self.block = Front(self.config)
        self.operation = operation_layout(self.config)
        idle, stall = harness.pauses(pause)
        self.requests = harness.Sink(dut, "o_fetch", self.block.o_fetch.payload.shape(), stall)
        self.words = harness.Source(dut, "words", unsigned(32), idle)
        self.streams = harness.Sink(dut, "o_stream", self.block.o_stream.payload.shape(), stall)
        silence(dut, self.block)
        self.done, self.ended, self.skipped = (
            pulses(dut, name) for name in ("done", "issue_ended", "issue_skipped")
        )
        self.program = []
        self.machine = None
        self.events = []
        self.linger = 0
        for task in (self._fetch(), self._engines()):
            cocotb.start_soon(task)

    async def _fetch(self):
        while True:
            (request,) = await self.requests.receive(1)
            words = [
                word
                for opcode, values in self.program
                for word in isa.pack(opcode=opcode, **LEAST.get(opcode, {}) | values)
            ]
            size = section_bytes(WORD_BYTES * len(words)) // WORD_BYTES
            harness.assert_same("request", request, {"address": PROGRAM, "words": size})
            self.words.send(words + [0] * (size - len(words)))
            await self.words.wait()
            await pulse(self.dut, "proven")

    async def _engines(self):
        """Play the engines: check each start, and that operation and pc hold until it is done."""
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value == 1 or dut.issue_start.value == 0:
                continue
            started = dut.issue_start.value.to_unsigned()
            assert started & started - 1 == 0, "two engines at once"
            opcode = OPCODES[started.bit_length() - 1]
            operation = dut.issue_younger.value
            younger = harness.read_port(dut, "issue_younger", self.operation)
            pc = younger["pc"]
            assert younger["instruction"] & 255 == opcode, "the wrong engine"
            values = self.program[pc][1]
            grouped = values.get("select") == Select.GROUP
            layer = younger["layer"] if grouped else None
            self.events.append((pc, opcode, younger["mask"], layer))
            ended = len(self.ended)
            await ClockCycles(dut.clk, self.linger or self.generator.choice([1, 2, 9]))
            for port in (dut.issue_younger, dut.issue_older):
                assert port.value == operation, "the operation moved under the engine"
            assert dut.issue_pc.value.to_unsigned() == pc
            assert len(self.ended) == ended, "ended before the engine was done"
            if self.machine.apply(opcode, younger["mask"]):
                await pulse(dut, "told")
            harness.drive(dut, "slots", self.block.slots.shape(), self.machine.table)
            dut.empty.value = self.machine.empty
            await pulse(dut, "issue_done", started)

    def _stream(self, pc, layer):
        """The weight stream of a LINEAR; that of a group's layer, where it has several."""
        values = {
            "address": 0,
            "beats": 0,
            "stacked": 0,
            "reduction": 0,
            "groups": 0,
        } | self.program[pc][1]
        address = values["address"] + (layer or 0) * values["stacked"] * stream_stride(
            values["beats"] * self.config.bus_bytes
        )
        return {
            "address": address,
            "pc": pc,
            **{name: values[name] for name in ("beats", "reduction", "groups")},
        }

    async def run(self, program, queue=(), present=frozenset(OPCODES)):
        """Run to the end; compare with the interpreter."""
        dut = self.dut
        self.program, self.machine = program, Machine(self.config, queue)
        for found in (self.done, self.ended, self.skipped, self.events):
            found.clear()
        harness.drive(dut, "slots", self.block.slots.shape(), self.machine.table)
        for name, value in (
            ("program", PROGRAM),
            ("instructions", len(program)),
            *MODEL.items(),
            ("empty", 0),
            ("present", sum(1 << i for i, opcode in enumerate(OPCODES) if opcode in present)),
        ):
            getattr(dut, name).value = value
        events, skipped, passes, fault = interpret(Machine(self.config, queue), program, present)
        await pulse(dut, "start")
        await RisingEdge(dut.clk)
        assert dut.busy.value == 1
        if fault:
            while dut.issue_fault.value == 0:
                await RisingEdge(dut.clk)
            await ClockCycles(dut.clk, 20)
            assert dut.busy.value == 1 and not self.done, "a fault stays until reset"
        elif not self.done:
            await until(dut, "done")
        await ClockCycles(dut.clk, 3)
        harness.assert_same("operations", self.events, events)
        layers = [(pc, layer) for pc, opcode, _, layer in events if opcode == Opcode.LINEAR]
        harness.assert_same(
            "streams",
            await self.streams.receive(len(layers)),
            [self._stream(*one) for one in layers],
        )
        assert self.streams.empty()
        harness.assert_same("skipped", len(self.skipped), skipped)
        harness.assert_same("ended", len(self.ended), len(events) + skipped)
        harness.assert_same("passes", dut.issue_passes.value.to_unsigned(), passes)
        harness.assert_same("fault", dut.issue_fault.value.to_unsigned(), int(fault))
        if not fault:
            assert dut.busy.value == 0 and len(self.done) == 1


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def programs(dut, pause):
    """Every opcode and a bad one, over queues of none to four passes."""
    test = Bench(dut, pause)
    await harness.start(dut)
    last = test.config.slots - 1
    for queue in (
        [(0, last)],
        [(0,), (1, last), (), (0,)],
        [(1,), range(last + 1), range(last + 1)],
        [(slot,) for slot in range(last + 1)],
        [],
    ):
        for beats in BEATS:
            await test.run(every(beats), queue)
    await test.run(
        [
            (Opcode.LOOP, {"target": 2}),
            (15, {}),
            (Opcode.ADMIT, {}),
            (Opcode.EXIT, {}),
            (Opcode.LOOP, {"target": 0}),
        ],
        [(0,)],
    )
    await test.run(every(7), [(last,)])


@cocotb.test()
async def ahead(dut):
    """While an engine works, the streams of the operations behind it are asked for.

    Those behind an EXIT are not.
    """
    test = Bench(dut, "none")
    await harness.start(dut)
    linear = {"beats": 1, "reduction": 1, "groups": 1}
    program = [
        (Opcode.ADMIT, {}),
        *[(Opcode.LINEAR, linear)] * 3,
        (Opcode.EXIT, {}),
        (Opcode.LINEAR, linear),
        (Opcode.EXIT, {}),
        (Opcode.EXIT, {}),
        (Opcode.LOOP, {"target": 0}),
    ]
    test.linger = 200
    cocotb.start_soon(test.run(program, [(0,)]))
    for started, streams in ((1, 0), (2, 3), (4, 0), (5, 0), (6, 1)):
        while len(test.events) < started:
            await RisingEdge(dut.clk)
        await ClockCycles(dut.clk, 20 * AHEAD)
        assert len(test.events) == started, "the engine is still at work"
        if streams:
            await test.streams.receive(streams)
        assert test.streams.empty()
        assert len(test.events) == started, "asked for when the engine had ended"


FAULTS = {
    "opcode": ([(Opcode.ADMIT, {}), (9, {})], OPCODES),
    "zeros": ([(0, {})], OPCODES),
    "behind": ([(Opcode.ADMIT, {}), *[(Opcode.NORM, {})] * 2 * AHEAD, (9, {})], OPCODES),
    "circle": ([(Opcode.ADMIT, {}), (Opcode.NORM, {}), (Opcode.LOOP, {"target": 1})], OPCODES),
    "self": ([(Opcode.ADMIT, {}), (Opcode.LOOP, {"target": 1})], OPCODES),
    "no_layer": ([(Opcode.ADMIT, {}), (Opcode.LOOP, {"target": 0})], OPCODES),
    **{
        f"{opcode.name}_{name}_{value}": ([(Opcode.ADMIT, {}), (opcode, {name: value})], OPCODES)
        for opcode, name, value in (
            (Opcode.LINEAR, "select", 5),
            (Opcode.LINEAR, "source", 4),
            (Opcode.LINEAR, "target_buffer", 5),
            (Opcode.LINEAR, "target_buffer", 15),
            (Opcode.LINEAR, "function", 4),
            (Opcode.LINEAR, "reduction", 0),
            (Opcode.LINEAR, "reduction", 0xFFFF),
            (Opcode.LINEAR, "groups", 0),
            (Opcode.LINEAR, "block", 129),
            (Opcode.NORM, "source", 1),
            (Opcode.NORM, "target_buffer", 0),
            (Opcode.NORM, "norm_set", 3),
            (Opcode.DROP, "select", 15),
            (Opcode.ATTEND, "groups", MODEL["heads"] + 1),
            (Opcode.EXIT, "groups", 2),
            (Opcode.EXIT, "reduction", MODEL["classes"] - 1),
            (Opcode.GROUP, "target", 2),
        )
    },
    "admit": ([(Opcode.ADMIT, {"reduction": MODEL["embedding"] + 1})], OPCODES),
    "end": ([(Opcode.ADMIT, {}), (Opcode.NORM, {})], OPCODES),
    "jump": ([(Opcode.ADMIT, {}), (Opcode.LOOP, {"target": 99})], OPCODES),
    "no_program": ([], OPCODES),
    "absent": (
        [(Opcode.ADMIT, {}), (Opcode.NORM, {}), (Opcode.DROP, {})],
        [opcode for opcode in OPCODES if opcode != Opcode.DROP],
    ),
}


@cocotb.test()
@cocotb.parametrize(kind=list(FAULTS))
async def faults(dut, kind):
    test = Bench(dut, "both")
    await harness.start(dut)
    program, present = FAULTS[kind]
    await test.run(program, [(0,)], frozenset(present))
    pcs = {"end": len(program)}
    if kind not in ("no_program", "circle", "self", "no_layer"):
        harness.assert_same(
            "pc", dut.pc.value.to_unsigned(), pcs.get(kind, program.index(program[-1]))
        )


@pytest.mark.parametrize("slots", [2, 5])
def test_sequencer(slots):
    config = harness.small(slots=slots)
    harness.run_bench(
        Front(config), "sim.bench.program.test_sequencer", f"sequencer_{slots}", config=config
    )
