# SPDX-License-Identifier: Apache-2.0
"""Where the machine's time goes: runs in the co-simulation, cut into operations by the machine's own counters.

    measurement = measure(network, config, sentences, latency=100, bytes_per_cycle=16)
    for operation in measurement.operations: ...

Limits are those of system.md; an operation of a single sentence is one layer's, of a queue one pass's.
"""
import functools
import resource
import time
from dataclasses import asdict, dataclass

from firmware.compiler import compile_network
from firmware.isa import Opcode, Select, Source
from firmware.limit import limit
from hw.trace import taps
from sim.check import traced
from sim.cosim_build import build
from sim.session import Session

__all__ = ["COUNTERS", "LATENCY", "Ended", "Measurement", "MeasureError", "Meter", "Operation", "measure", "run"]

COUNTERS = ("ARRAY_BUSY", "MACS", "STALL_WEIGHTS", "STALL_LOAD", "STALL_DRAIN")
LATENCY = 100       # cycles to a memory's first beat
PORTS = (0, 1)      # m_axi, m_axi_emb


class MeasureError(RuntimeError):
    """The run is no measurement: a sentence failed, a bus rule was broken, operations were too short to be told apart."""


@dataclass(frozen=True)
class Ended:
    """One operation: program counter, pass (a single sentence's layer), cycles since the operation before, what was counted meanwhile.

    pcs: of all operations that ended since then, short ones without a counter of their own among them; admitted: (slot, sentence) pairs.
    """

    pc: int
    layer: int
    cycles: int
    counters: dict
    bytes: int = 0
    pcs: tuple = ()
    admitted: tuple = ()


class Meter:
    """Called at the end of every operation: reads the counters while the machine fetches the next instruction."""

    def __init__(self, session, program, watch=None):
        self.session, self.program, self.watch = session, program, watch
        self.cycle, self.counters, self.bytes = session.sim.cycle, dict.fromkeys(COUNTERS, 0), self._bytes()
        self.layer, self.ended = -1, []

    def _bytes(self):
        sim = self.session.sim
        return sim.bytes_moved(0) + sim.bytes_moved(0, write=True) + sim.bytes_moved(1)

    def __call__(self, records):
        op = records["op"]
        worked = [(int(pc), int(cycle)) for pc, cycle, skipped in zip(op["pc"], op["cycle"], op["skipped"], strict=True) if not skipped]
        heavy = [pc for pc, _ in worked if self.program.instructions[pc]["opcode"] in (Opcode.LINEAR, Opcode.ATTEND)]
        if len(heavy) > 1:
            raise MeasureError("The counters of two operations were read at once")
        if not worked:
            return
        admits = [pc for pc, _ in worked if self.program.instructions[pc]["opcode"] == Opcode.ADMIT]
        self.layer += len(admits)
        now, moved = {name: self.session.read(f"{name}_LO") for name in COUNTERS}, self._bytes()
        pc, cycle = worked[-1]
        slots = records["slot"]
        fresh = slots["layer"] == 0     # EXIT shows those that moved on
        admitted = zip(slots["slot"][fresh].tolist(), slots["sentence"][fresh].tolist(), strict=True) if admits else ()
        self.ended.append(Ended(heavy[0] if heavy else pc, self.layer, cycle - self.cycle,
                                {name: now[name] - self.counters[name] for name in COUNTERS}, moved - self.bytes,
                                tuple(pc for pc, _ in worked), tuple(admitted)))
        self.cycle, self.counters, self.bytes = cycle, now, moved
        if self.watch:
            self.watch(cycle)


def run(network, config, sentences, slots=None, metered=False, watch=None, program=None, **behave):
    """Run a queue -> (program, Meter or None, session after it, cycles).

    watch : called with the cycle after every operation; behave : of both memories, as in `Cosim.behave`
    """
    program = program or compile_network(network, config)
    layouts = {name: taps(config)[name] for name in ("op", "slot")} if metered else {}
    session = Session(build(config, traced), config, layouts, program.image, program.embedding, len(sentences))
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
        raise MeasureError(f"The run must succeed, not end with {'; '.join([*failed, *session.sim.violations])}")
    return program, meter, session, cycles


@dataclass(frozen=True)
class Operation:
    """What one operation took, and the least that it could.

    rows, tokens : selected rows, and live tokens of all resident sentences
    macs : multiplications with a non-zero weight for a live token (attention: dense); compute : their cycles by system.md, whole tiles
    weight_bytes : that must cross the bus; bytes : that did, on all ports
    embeds : it belongs to the admission of a sentence, not to a layer
    """

    name: str
    opcode: str
    layer: int
    rows: int
    tokens: int
    cycles: int
    counters: dict
    bytes: int
    macs: float
    compute: float
    weight_bytes: int
    embeds: bool


@dataclass(frozen=True)
class Measurement:
    """One run. cycles: from the start of the queue to the end of its last operation; simulated: with the loading of images, in seconds.

    tokens, exit_layers, latencies : of each sentence; latencies in cycles from admission to result
    """

    operations: list
    cycles: int
    simulated: int
    seconds: float
    peak_memory_mb: float
    tokens: list
    exit_layers: list
    latencies: list

    def to_json(self):
        return asdict(self)

    @classmethod
    def from_json(cls, value):
        return cls(**value | {"operations": [Operation(**operation) for operation in value["operations"]]})


def measure(network, config, sentences, slots=None, latency=LATENCY, bytes_per_cycle=None, watch=None):
    """Run a queue of (ids, segments) on `config` and account for every cycle -> Measurement.

    latency, bytes_per_cycle : of both memories; by default the bus is as fast as it is wide
    """
    program = compile_network(network, config)
    build(config, traced)       # before the clock starts
    begin = time.perf_counter()
    _, meter, session, _ = run(network, config, sentences, slots, True, watch, program, latency=latency,
                               bytes_per_cycle=bytes_per_cycle or config.bus_bytes)
    seconds = time.perf_counter() - begin
    records = session.results(len(sentences))
    operations = _operations(program, meter.ended, records, network.model.layers)
    return Measurement(operations, sum(operation.cycles for operation in operations), session.sim.cycle, seconds, _peak_memory(),
                       [record.tokens for record in records], [record.exit_layer for record in records],
                       [record.cycles for record in records])


def _peak_memory():
    """MB, of this process and of the compilers that it ran."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def operation_name(program, pc):
    """The tensor that it makes; a move that of its rows."""
    values, symbol = program.instructions[pc], program.symbols[pc]
    name = symbol.tensor.removeprefix("layer{l}.") if symbol else Opcode(values["opcode"]).name.lower()
    return f"{name} move" if values["opcode"] == Opcode.NORM and not values.get("normalize") else name


def _operations(program, ended, records, layers):
    """`Operation`s of what a `Meter` saw."""
    bounds = functools.cache(lambda lengths: {bound.pc: bound for bound in limit(program, lengths)})
    residents, operations = Residents(program, records, layers), []
    for one in ended:
        lengths, tokens = {pc: residents.work(pc, one.admitted) for pc in one.pcs}[one.pc]
        values = program.instructions[one.pc]
        opcode = Opcode(values["opcode"])
        rows = len(lengths) if values.get("cls") or opcode == Opcode.EXIT else sum(lengths)
        bound = bounds(lengths).get(one.pc)
        macs = 0 if bound is None else bound.nonzeros * rows
        if opcode == Opcode.ATTEND:
            macs = 2 * sum(n * n for n in lengths) * values["reduction"] * values["groups"]
        operations.append(Operation(
            operation_name(program, one.pc), opcode.name, one.layer, rows, tokens, one.cycles, one.counters, one.bytes, macs,
            bound.compute if bound else 0, bound.memory_bytes if bound else 0, opcode == Opcode.ADMIT or values["select"] == Select.NEW))
    return operations


class Residents:
    """Which sentence lies in which slot and at which layer, followed through the operations; what dropped and left is in the results."""

    def __init__(self, program, records, layers):
        self.program, self.records = program, records
        self.layers = layers
        self.sentence, self.layer = {}, {}      # by slot
        self.dropped = set()                    # slots whose drop in this pass is over
        self.sets = {}                          # slots by `Select`
        self.pending = set()

    def live(self, slot):
        """Tokens of a slot now."""
        record = self.records[self.sentence[slot]]
        return (record.live if slot in self.dropped else record.entering)[self.layer[slot]]

    def work(self, pc, admitted):
        """(live tokens of each sentence that operation `pc` works on, of all residents); then it is done."""
        values = self.program.instructions[pc]
        opcode, select = values["opcode"], values.get("select", Select.NEW)
        if opcode == Opcode.ADMIT:
            self._admit(dict(admitted))
        elif select == Select.ALL:
            self.dropped = set(self.layer)
        elif select == Select.GROUP and opcode == Opcode.LINEAR and values["source"] == Source.STATE:   # a group's first operation
            self._next_group()
        chosen = sorted(self.layer) if select == Select.ALL else sorted(self.sets[select])
        lengths, tokens = tuple(map(self.live, chosen)), sum(map(self.live, self.layer))
        if opcode == Opcode.DROP:
            self.dropped |= set(chosen)
        elif opcode == Opcode.EXIT:
            self._exit(chosen)
        return lengths, tokens

    def _admit(self, admitted):
        self.sentence |= admitted
        self.layer |= dict.fromkeys(admitted, 0)
        last = {slot for slot, layer in self.layer.items() if layer + 1 == self.layers}
        self.sets = {Select.NEW: set(admitted), Select.LAST: last, Select.NOT_LAST: set(self.layer) - last}
        self.pending, self.dropped = set(self.layer), set()

    def _next_group(self):
        layer = self.layer[min(self.pending)]
        self.sets[Select.GROUP] = {slot for slot in self.pending if self.layer[slot] == layer}
        self.pending -= self.sets[Select.GROUP]

    def _exit(self, slots):
        for slot in slots:
            self.layer[slot] += 1
            self.dropped.discard(slot)
            if self.records[self.sentence[slot]].exit_layer == self.layer[slot]:
                del self.layer[slot]
