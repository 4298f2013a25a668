# SPDX-License-Identifier: Apache-2.0
"""`terse bench`: cycles beside the two limits of system.md and EdgeBERT's cycles, row by row.

A `terse.cases.Case` says what to run, a `sim.measure.Measurement` what it took, `rows` makes figures of both. Measurements lie under
build/bench/, named by everything that determines them, so that a bench that was stopped goes on where it was.
"""
import csv
import dataclasses
import functools
import json
import math
from dataclasses import dataclass

from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from sim import cosim_build
from sim.measure import Measurement
from terse import edgebert
from terse.artefacts import buffer_sizes
from terse.cases import Case, simulate, sparsity_of
from terse.errors import UserError

__all__ = ["Result", "Row", "bench", "full_cases", "quick_cases", "rows", "select", "write_csv"]

STORE = cosim_build.ROOT / "build" / "bench"
STREAM = "tiny"


def stream_hardware(tokens, columns):
    """The shape with everything else as `STREAM` needs it, 256 rows."""
    model = MODELS[STREAM]
    return dataclasses.replace(HARDWARE["edgebert"], tokens=tokens, columns=columns, rows=256, positions=model.positions, hidden=model.hidden,
                               feed_forward=model.feed_forward, embedding=model.embedding, heads=model.heads, weight_depth=1024)


SPARSITIES = (0.0, 0.6, 0.8)


def quick_cases():
    return [Case(tokens=32, sparsity=zeros) for zeros in SPARSITIES]


def full_cases():
    """Quick ones first; then lengths, memories, streams, whole sentences."""
    layers = [Case(tokens=tokens, sparsity=zeros) for tokens in (128, 64, 16, 8, 4, 1) for zeros in SPARSITIES]
    memories = [Case(tokens=tokens, sparsity=zeros, bytes_per_cycle=speed, latency=latency)
                for speed, latency in ((8, 100), (4, 100), (16, 20), (16, 400)) for tokens in (128, 16) for zeros in SPARSITIES]
    streams = [Case(STREAM, stream_hardware(*shape), slots=slots, sentences=64) for shape in ((16, 16), (64, 4)) for slots in (1, 8)]
    whole = [Case(tokens=128, sparsity=zeros, layers=MODELS["base"].layers) for zeros in reversed(SPARSITIES)]
    return quick_cases() + layers + memories + streams + whole


def select(cases, only):
    """The cases whose label holds the text."""
    chosen = [case for case in cases if only in case.label]
    if not chosen:
        raise UserError(f"--only must be part of a case's name, as {cases[0].label!r}, not {only!r}")
    return chosen


@dataclass(frozen=True)
class Row:
    """Figures of an operation, of a layer without its embedding, of a whole sentence or of a stream: a row of the JSON file.

    tokens : of all sentences; rows : that the operation works on, mean over the passes; bytes : on all ports
    limit_cycles : the larger of two sums, the array's least cycles and the weights' bytes over the bus
    utilisation : multiplications with non-zero weights for live tokens / (cycles T P)
    edgebert_cycles : None where EdgeBERT has no such operation
    """

    name: str
    scope: str
    model: str
    T: int
    P: int
    slots: int
    sparsity: float
    tokens: int
    rows: float
    bus_bytes: int
    latency: int
    buffer_kb: float
    cycles: int
    limit_cycles: float
    bound: str
    utilisation: float
    bytes: int
    edgebert_cycles: int | None
    speedup_vs_edgebert: float | None
    source: str


@dataclass(frozen=True)
class Result:
    """runs: [(case, measurement)]; tables: their rows, a list for each."""

    runs: list
    tables: list

    @property
    def rows(self):
        return [row for table in self.tables for row in table]

    def to_json(self):
        seconds = sum(one.seconds for _, one in self.runs)
        speed = sum(one.simulated for _, one in self.runs) / seconds if seconds else 0.0
        return {"rows": [vars(row) for row in self.rows],
                "simulation": {"cycles_per_second": round(speed), "peak_memory_mb": round(max(one.peak_memory_mb for _, one in self.runs), 1)}}


def rows(case, measurement, source="simulated", trip=0):
    """`Row`s of one case: its operations, a single layer, the whole.

    source : who measured; trip : host cycles per tile of EdgeBERT's results
    """
    groups = {}
    for operation in measurement.operations:
        groups.setdefault(operation.name, []).append(operation)
    make = functools.partial(_row, case, measurement, source)
    theirs = _edgebert(case, measurement, trip)
    result = [make(name, "operation", operations, theirs.get(name)) for name, operations in groups.items()]
    whole = sum(theirs.values())
    if case.layers == 1 and not case.sentences:
        result.append(make("layer", "layer", [one for one in measurement.operations if not one.embeds], whole))
    name, scope = (f"{case.sentences} sentences", "stream") if case.sentences else ("sentence", "sentence")
    return [*result, make(name, scope, measurement.operations, whole)]


def _edgebert(case, measurement, trip):
    """EdgeBERT's cycles by operation: as many multipliers, the same sentences and layers, no token dropped."""
    n, total = math.isqrt(case.hardware.tokens * case.hardware.columns), {}
    for tokens, layers in zip(measurement.tokens, measurement.exit_layers, strict=True):
        for name, cycles in edgebert.operation_cycles(MODELS[case.model], tokens, n, trip).items():
            total[name] = total.get(name, 0) + layers * cycles
    return total


def _row(case, measurement, source, name, scope, operations, theirs):
    hardware = case.hardware
    cycles, macs, compute, weight_bytes, moved = (sum(getattr(one, field) for one in operations)
                                                  for field in ("cycles", "macs", "compute", "weight_bytes", "bytes"))
    memory = weight_bytes / case.bytes_per_cycle
    passes = [one.rows for one in operations if one.rows and (scope == "operation" or one.name == "q")]
    return Row(
        name, scope, case.model, hardware.tokens, hardware.columns, case.slots, sparsity_of(case), sum(measurement.tokens),
        round(sum(passes) / max(1, len(passes)), 1), case.bytes_per_cycle, case.latency, buffer_kb(hardware), cycles,
        round(max(compute, memory), 1), "memory" if memory > compute else "compute",
        round(macs / (cycles * hardware.tokens * hardware.columns), 4) if cycles else 0.0, moved, theirs,
        round(theirs / cycles, 3) if theirs and cycles else None, source)


@functools.cache
def buffer_kb(config):
    """KB of all buffers, activation copies and weight rings included."""
    return round(sum(size for *_, size in buffer_sizes(config)) / 1024, 1)


def bench(cases, watch=None, trip=0):
    """Measure the cases that `STORE` does not hold -> Result.

    watch(case, cycles) : called as a case proceeds, with cycles None when it is done; trip : as in `rows`
    """
    if trip < 0:
        raise UserError(f"--trip must be at least 0, not {trip}")
    runs = []
    for case in cases:
        path = STORE / f"{case.key}.json"
        if path.exists():
            measurement = Measurement.from_json(json.loads(path.read_text())["measurement"])
        else:
            measurement = simulate(case, functools.partial(watch, case) if watch else None)
            _save(path, {"case": case.label, "measurement": measurement.to_json()})
        runs.append((case, measurement))
        if watch:
            watch(case, None)
    return Result(runs, [rows(case, measurement, trip=trip) for case, measurement in runs])


def _save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")  # Ctrl-C leaves no half a file
    partial.write_text(json.dumps(value))
    partial.replace(path)


def write_csv(path, result):
    """The rows, one a line."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)])
        writer.writeheader()
        writer.writerows(vars(row) for row in result.rows)
