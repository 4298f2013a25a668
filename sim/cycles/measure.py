# SPDX-License-Identifier: Apache-2.0
"""Where the machine's time goes: co-simulated runs, cut into operations by the machine's counters.

    measurement = measure(network, config, sentences, latency=100, bytes_per_cycle=16)
    for operation in measurement.operations: ...

Which sentences' rows an operation works on follows from the result records: sim/cycles/work.py.
"""

import itertools
import resource
import time
from dataclasses import dataclass

from firmware.compiler import compile_network
from firmware.isa import Opcode
from golden_model.model import run as run_golden
from hw.trace import taps
from sim.cosim.build import build
from sim.cosim.session import Session
from sim.cycles.operations import Ledger, Measurement
from sim.cycles.work import executed, of_record, schedule
from sim.proof.check import differences, traced

__all__ = [
    "METERED",
    "FIRST_BEAT",
    "Ended",
    "MeasureError",
    "Meter",
    "measure_cycles",
    "run_cycles",
]

METERED = ("ARRAY_BUSY", "MACS", "STALL_WEIGHTS", "STALL_LOAD", "STALL_DRAIN")
FIRST_BEAT = 100  # cycles to a memory's first beat
PORTS = (0, 1)  # m_axi, m_axi_emb


class MeasureError(RuntimeError):
    """The run is no measurement.

    A sentence failed or its result is not the golden model's, a bus rule was broken, or operations
    were too short to be told apart.
    """


@dataclass(frozen=True)
class Ended:
    """One operation.

    pc, layer : program counter, pass (a single sentence's layer)
    cycles, counters, bytes : since the operation before
    pcs : of all operations that ended since then, short ones without a counter of their own too
    """

    pc: int
    layer: int
    cycles: int
    counters: dict
    bytes: int = 0
    pcs: tuple = ()


class Meter:
    """Called at the end of every operation: reads the counters.

    Meanwhile the machine fetches the next instruction.
    """

    def __init__(self, session, program, watch=None):
        self.session = session
        self.program = program
        self.watch = watch
        self.cycle = session.sim.cycle
        self.counters = dict.fromkeys(METERED, 0)
        self.bytes = self._bytes()
        self.layer, self.ended = -1, []

    def _bytes(self):
        sim = self.session.sim
        return sim.bytes_moved(0) + sim.bytes_moved(0, write=True) + sim.bytes_moved(1)

    def __call__(self, records):
        """Note an `Ended` for the operations in the records; MeasureError if two need counters."""
        op = records["op"]
        worked = [
            (int(pc), int(cycle))
            for pc, cycle, skipped in zip(op["pc"], op["cycle"], op["skipped"], strict=True)
            if not skipped
        ]
        heavy = [
            pc
            for pc, _ in worked
            if self.program.instructions[pc]["opcode"] in (Opcode.LINEAR, Opcode.ATTEND)
        ]
        if len(heavy) > 1:
            raise MeasureError("The counters of two operations were read at once")
        if not worked:
            return
        self.layer += sum(
            self.program.instructions[pc]["opcode"] == Opcode.ADMIT for pc, _ in worked
        )
        now, moved = {name: self.session.read(f"{name}_LO") for name in METERED}, self._bytes()
        pc, cycle = worked[-1]
        self.ended.append(
            Ended(
                heavy[0] if heavy else pc,
                self.layer,
                cycle - self.cycle,
                {name: now[name] - self.counters[name] for name in METERED},
                moved - self.bytes,
                tuple(pc for pc, _ in worked),
            )
        )
        self.cycle = cycle
        self.counters = now
        self.bytes = moved
        if self.watch:
            self.watch(cycle)


def run_cycles(
    network, config, sentences, slots=None, metered=False, watch=None, program=None, **behave
):
    """Run a queue -> (program, Meter or None, session after it, cycles).

    watch : called with the cycle after every operation
    behave : of both memories, as in `Cosim.behave`
    """
    program = program or compile_network(network, config)
    layouts = {"op": taps(config)["op"]} if metered else {}
    session = Session(
        build(config, traced), config, layouts, program.image, program.embedding, len(sentences)
    )
    session.load()
    for port in PORTS if behave else ():
        session.sim.behave(port, **behave)
    session.queue(sentences, slots)
    if metered:
        session.sim.take()
    meter = Meter(session, program, watch) if metered else None
    cycles = session.run(meter)
    failed = [record.status.name for record in session.results(len(sentences)) if record.status]
    if failed or session.sim.violations:
        raise MeasureError(
            f"The run must succeed, not end with {'; '.join([*failed, *session.sim.violations])}"
        )
    return program, meter, session, cycles


def measure_cycles(
    network, config, sentences, slots=None, latency=FIRST_BEAT, bytes_per_cycle=None, watch=None
):
    """Run a queue of (ids, segments) on `config` and account for every cycle -> Measurement.

    Each result is what the golden model gives alone.

    latency, bytes_per_cycle : of both memories; by default the bus is as fast as it is wide
    """
    program = compile_network(network, config)
    build(config, traced)  # before the clock starts
    begin = time.perf_counter()
    _, meter, session, _ = run_cycles(
        network,
        config,
        sentences,
        slots,
        True,
        watch,
        program,
        latency=latency,
        bytes_per_cycle=bytes_per_cycle or config.bus_bytes,
    )
    seconds = time.perf_counter() - begin
    records = session.results(len(sentences))
    for number, (words, record) in enumerate(zip(sentences, records, strict=True)):
        if wrong := differences(number, run_golden(network, *words), record, program.early_exit):
            raise MeasureError("; ".join(wrong))
    work = schedule(
        program,
        [of_record(words, record) for words, record in zip(sentences, records, strict=True)],
        slots,
    )
    operations, ends = _operations(program, meter.ended, work)
    return Measurement(
        operations,
        sum(operation.cycles for operation in operations),
        [record.tokens for record in records],
        [list(record.live) for record in records],
        [record.cycles for record in records],
        ends,
        simulated=session.sim.cycle,
        seconds=seconds,
        peak_memory_mb=_peak_memory(),
    )


def _peak_memory():
    """MB, of this process and of the compilers that it ran."""
    return (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1024
    )


def _operations(program, ended, work):
    """(`Operation`s of what a `Meter` saw, each sentence's end).

    The meter has the short ones between two others as one.
    """
    ledger = Ledger(program)
    done = iter(executed(program, work))
    operations = []
    ends = {}
    now = 0
    for one in ended:
        parts = list(itertools.islice(done, len(one.pcs)))
        if tuple(part.pc for part in parts) != one.pcs:
            raise MeasureError(
                f"The machine must do what was scheduled, {[part.pc for part in parts]}, "
                f"not {list(one.pcs)}"
            )
        chosen = parts[one.pcs.index(one.pc)]
        operations.append(ledger.operation(chosen, one.layer, one.cycles, one.counters, one.bytes))
        now += one.cycles
        ends |= {number: now for part in parts for number in part.ended}
    return operations, [ends[number] for number in sorted(ends)]
