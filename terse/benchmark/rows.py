# SPDX-License-Identifier: Apache-2.0
"""`terse bench`: cycles beside their limits and EdgeBERT's cycles, row by row.

A `terse.benchmark.cases.Case` says what to run, a `sim.cycles.operations.Measurement` what it took,
`rows` makes figures of both. Measurements lie under build/bench/ (terse/benchmark/kept.py).
"""

import csv
import dataclasses
import functools
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass, field

from golden_model.config import MODELS
from sim.cycles.operations import SIMULATED
from terse import catalog
from terse.artefacts import buffer_sizes
from terse.benchmark import edgebert, kept
from terse.benchmark.cases import Deadlines, Stream
from terse.benchmark.data import has_data
from terse.benchmark.running import sparsity_of
from terse.errors import UserError

__all__ = ["CaseResult", "ResultRow", "bench", "deadlines_met", "rows", "write_csv"]


@dataclass(frozen=True)
class ResultRow:
    """Figures of an operation, a layer without its embedding, a sentence or a stream.

    A row of the JSON file; `scope` says of which.

    tokens : of all sentences
    rows : that the operation works on, mean over the passes
    limit_cycles : of each pass the larger of two sums, the array's least cycles and the weights'
        bytes over the bus
    bound : which of the two is most of it, "compute" or "memory"
    utilisation : multiplications with non-zero weights for live tokens / (cycles T P)
    bytes : on all ports; weight_bytes : that must cross the bus
    edgebert_cycles : None where EdgeBERT has no such operation
    source : who told the cycles, "simulated" or "model"
    bus_busy : bytes / (cycles x bytes per cycle)
    bus_stalls : share of the cycles in which simulated lanes wait for weights; of a modelled layer
        the share that a memory with one cycle's latency at the bus's full width would save, which
        is more
    live_lanes, live_lanes_array : share of the token lanes' multiplications that are for a live
        token, in weight operations and in all of the array; of a stream as long as its queue is not
        empty
    latency_mean, latency_max : of whole sentences, cycles from admission to result
    deadlines_met : share, of a stream with deadlines
    live_tokens : of each layer of a stream after its drop, mean of the sentences that get there
    product_vs_edgebert : of whole sentences, EdgeBERT's cycles for all the model's layers / cycles:
        what array, zeros, dropped tokens and early exits bring together
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
    weight_bytes: int
    bus_busy: float
    bus_stalls: float | None
    live_lanes: float | None
    live_lanes_array: float | None
    latency_mean: int | None
    latency_max: int | None
    deadlines_met: float | None
    live_tokens: list | None
    product_vs_edgebert: float | None = None


@dataclass(frozen=True)
class CaseResult:
    """What a bench found.

    runs : [(case, measurement)]; tables : their rows, a list for each
    notes : what else there is to say, as cases that the compiler refused
    """

    runs: list
    tables: list
    notes: list = field(default_factory=list)

    @property
    def rows(self):
        return [row for table in self.tables for row in table]

    def to_json(self):
        simulations = [one for _, one in self.runs if one.source == SIMULATED]
        seconds = sum(one.seconds for one in simulations)
        speed = sum(one.simulated for one in simulations) / seconds if seconds else 0.0
        memory = max((one.peak_memory_mb for one in simulations), default=0.0)
        return {
            "rows": [vars(row) for row in self.rows],
            "simulation": {"cycles_per_second": round(speed), "peak_memory_mb": round(memory, 1)},
        }


def rows(case, measurement, trip=0):
    """`Row`s of one case: its operations, a single layer, the whole.

    trip : host cycles per tile of EdgeBERT's results
    """
    groups = {}
    for operation in measurement.operations:
        groups.setdefault(operation.name, []).append(operation)
    make = functools.partial(_row, case, measurement)
    theirs = _edgebert(case, measurement, measurement.exit_layers, trip)
    result = [
        make(name, "operation", operations, theirs.get(name)) for name, operations in groups.items()
    ]
    whole = sum(theirs.values())
    if case.is_layer:
        result.append(
            make("layer", "layer", [one for one in measurement.operations if not one.embeds], whole)
        )
    name, scope = (
        (f"{case.sentences} sentence{'s' * (case.sentences > 1)}", "stream")
        if case.stream
        else ("sentence", "sentence")
    )
    every = _edgebert(case, measurement, [case.layers] * len(measurement.tokens), trip)
    last = make(name, scope, measurement.operations, whole)
    return [
        *result,
        dataclasses.replace(last, product_vs_edgebert=_times(sum(every.values()), last.cycles)),
    ]


def _edgebert(case, measurement, layers, trip):
    """EdgeBERT's cycles by operation: as many multipliers, the same sentences, no token dropped.

    layers : that each sentence goes through
    """
    n, total = math.isqrt(case.hardware.tokens * case.hardware.columns), {}
    for tokens, count in zip(measurement.tokens, layers, strict=True):
        for name, cycles in edgebert.operation_cycles(MODELS[case.model], tokens, n, trip).items():
            total[name] = total.get(name, 0) + count * cycles
    return total


def _row(case, measurement, name, scope, operations, theirs):
    """The Row of `operations`: cycles, limit, shares; latencies of sentences and streams only."""
    hardware = case.hardware
    cycles, macs, weight_bytes, moved = (
        sum(getattr(one, field) for one in operations)
        for field in ("cycles", "macs", "weight_bytes", "bytes")
    )
    limit, bound = _limit(operations, case.bytes_per_cycle)
    passes = [
        one.rows for one in operations if one.rows and (scope == "operation" or one.name == "q")
    ]
    latencies = measurement.latencies if scope in ("sentence", "stream") else ()
    live_lanes, live_lanes_array = _live_lanes(operations, scope == "stream")
    return ResultRow(
        name,
        scope,
        case.model,
        hardware.tokens,
        hardware.columns,
        case.slots,
        sparsity_of(case),
        sum(measurement.tokens),
        round(sum(passes) / max(1, len(passes)), 1),
        case.bytes_per_cycle,
        case.latency,
        buffer_kb(hardware),
        cycles,
        limit,
        bound,
        _share(macs, cycles * hardware.tokens * hardware.columns) or 0.0,
        moved,
        theirs,
        _times(theirs, cycles),
        measurement.source,
        weight_bytes,
        _share(moved, cycles * case.bytes_per_cycle) or 0.0,
        _stalls(operations, cycles),
        live_lanes,
        live_lanes_array,
        round(sum(latencies) / len(latencies)) if latencies else None,
        max(latencies, default=None),
        deadlines_met(case, measurement) if scope == "stream" else None,
        _live_tokens(measurement) if scope == "stream" else None,
    )


def deadlines_met(case, measurement, scale=1.0):
    """Share of the sentences that end before their deadlines; None without deadlines.

    scale : the deadlines are so many times as far
    """
    if not isinstance(case, Deadlines):
        return None
    pairs = zip(measurement.ends, case.deadlines, strict=True)
    return _share(sum(end <= scale * deadline for end, deadline in pairs), case.sentences)


def _live_tokens(measurement):
    """[mean of the sentences that get there] by layer."""
    layers = [
        [count for count in counts if count] for counts in itertools.zip_longest(*measurement.live)
    ]
    return [round(sum(counts) / len(counts), 2) for counts in layers]


def _limit(operations, bytes_per_cycle):
    """(least cycles, what most of them are bound by): of each pass the larger of its two sums."""
    passes = defaultdict(lambda: [0, 0])
    for one in operations:
        passes[one.layer][0] += one.compute
        passes[one.layer][1] += one.weight_bytes / bytes_per_cycle
    limits = [max(pair) for pair in passes.values()]
    memory = sum(memory for compute, memory in passes.values() if memory > compute)
    return round(sum(limits), 1), "memory" if 2 * memory > sum(limits) else "compute"


def _share(part, whole):
    return round(part / whole, 4) if whole else None


def _times(theirs, cycles):
    """How many times as fast."""
    return round(theirs / cycles, 3) if theirs and cycles else None


def _stalls(operations, cycles):
    """Share of the cycles lost to the memory; None where nobody counted."""
    counted = [
        stalled
        for one in operations
        if (stalled := one.counters.get("STALL_WEIGHTS", one.counters.get("STALL_MEMORY")))
        is not None
    ]
    return _share(sum(counted), cycles) if counted else None


def _live_lanes(operations, stream):
    """Shares (in weight operations, in all of the array) that are for a live token.

    stream : only until its last sentence is admitted
    """
    last = max(one.layer for one in operations if one.embeds and one.rows) if stream else math.inf
    full = [one for one in operations if one.layer <= last]
    weights = [one for one in full if one.weight_bytes]
    return tuple(
        _share(sum(one.macs for one in some), sum(one.lanes for one in some))
        for some in (weights, full)
    )


@functools.cache
def buffer_kb(config):
    """KB of all buffers, activation copies and weight rings included."""
    return round(sum(size for *_, size in buffer_sizes(config)) / 1024, 1)


def bench(cases, watch=None, trip=0):
    """Measure the cases that are not measured yet -> Result.

    watch(case, cycles) : called as a case proceeds, with cycles None when it is done
    trip : as in `rows`
    """
    if trip < 0:
        raise UserError(f"--trip must be at least 0, not {trip}")
    measured = kept.measure_kept(cases, watch)
    runs = [(case, measured[case]) for case in cases if not isinstance(measured[case], str)]
    notes = [
        f"{case.label}: left out. {measured[case]}"
        for case in cases
        if isinstance(measured[case], str)
    ]
    if not has_data() and any(
        isinstance(case, Stream) and case.sentences > len(catalog.samples(case.model))
        for case in cases
    ):
        notes.append(
            "SST-2's dev split is not there: long streams repeat the samples of the model "
            "(docs/data.md says where it is looked for)"
        )
    return CaseResult(runs, [rows(case, measurement, trip) for case, measurement in runs], notes)


def write_csv(path, result):
    """The rows, one a line."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(ResultRow)])
        writer.writeheader()
        writer.writerows(vars(row) for row in result.rows)
