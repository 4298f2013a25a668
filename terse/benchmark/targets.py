# SPDX-License-Identifier: Apache-2.0
"""The targets of the design, beside what `terse bench` found: a figure for each.

Inside weight operations the limit is the sum of each operation's own.
"""

import itertools
from dataclasses import dataclass

from golden_model.config import MODELS
from sim.cycles.modelled import BY_MODEL
from sim.cycles.operations import SIMULATED
from terse.benchmark.cases import Passage, twin
from terse.benchmark.sweep import (
    MANY,
    MEMORIES,
    SPARSITIES,
    deadline_streams,
    fitted_streams,
    streams,
)

__all__ = ["Target", "targets"]

COMPUTE, LAYER = "compute", "layer"
DENSE = "dense layer"
PRUNED = "pruned layer"
EDGEBERT = "EdgeBERT"
LENGTHS = "short sentences"
STREAMS = "streams"
BUS = "bus"
MODELS_AGREE = "cycle model"
FASTER = {0.6: 2.2, 0.8: 3.6}  # whole layer, against our own dense run
THEIRS = {0.0: 1.95, 0.6: 4.4, 0.8: 7.0}  # whole sentence, against EdgeBERT
THROUGHPUT = {
    ("tiny", 16): 1.4,
    ("tiny", 64): 2.3,
    ("base", 16): 1.6,
    ("base", 64): 3.0,
}  # 8 slots against 1, by T


@dataclass(frozen=True)
class Target:
    """A figure that is wanted.

    topic : what it is about, one of the constants above; figure : None where nothing was measured
    most : it must be at most, not at least, what is wanted
    """

    topic: str
    what: str
    figure: float | None
    wanted: float
    most: bool = False

    @property
    def met(self):
        if self.figure is None:
            return None
        return self.figure <= self.wanted if self.most else self.figure >= self.wanted


def targets(result):
    """[Target] of a `terse.benchmark.rows.Result`."""
    found = _Found(result)
    parts = (_dense, _pruned, _edgebert, _lengths, _streams, _deadlines, _bus)
    return [*(target for part in parts for target in part(found)), _agreement(found)]


class _Found:
    """The rows of cases."""

    def __init__(self, result):
        self.tables = {
            case: rows for (case, _), rows in zip(result.runs, result.tables, strict=True)
        }

    def rows(self, case):
        """Of the case, whoever measured it; None where nobody did."""
        twins = [twin(case, source) for source in (SIMULATED, BY_MODEL)]
        return next((self.tables[one] for one in twins if one in self.tables), None)

    def row(self, case, scope=LAYER):
        return next((row for row in self.rows(case) or () if row.scope == scope), None)

    def get(self, case, field, scope=LAYER):
        row = self.row(case, scope)
        return row and getattr(row, field)

    def to_limit(self, case, scope=LAYER):
        return _ratio(self.get(case, "cycles", scope), self.get(case, "limit_cycles", scope))

    def weights_to_limit(self, case):
        """Cycles of a layer's weight operations over their limits."""
        rows = [
            row
            for row in self.rows(case) or ()
            if row.scope == "operation" and row.weight_bytes and row.name != "x"
        ]
        return _ratio(sum(row.cycles for row in rows), sum(row.limit_cycles for row in rows))


def _agreement(found):
    """The cycle model beside the co-simulation, where both ran."""
    pairs = [
        (rows[-1].cycles, modelled[-1].cycles)
        for case, rows in found.tables.items()
        if case.source == SIMULATED and (modelled := found.tables.get(twin(case, BY_MODEL)))
    ]
    figure = max((abs(model / simulated - 1) for simulated, model in pairs), default=None)
    return Target(
        MODELS_AGREE,
        f"cycle model and {len(pairs)} simulated cases: largest difference",
        figure,
        0.01,
        True,
    )


def _ratio(a, b):
    return a / b if a and b else None


def _percent(zeros):
    return f"{zeros:.0%} zeros" if zeros else "dense"


def _dense(found):
    case = Passage(tokens=128)
    yield Target(
        DENSE,
        "layer, dense, 128 tokens: weight operations / limit",
        found.weights_to_limit(case),
        1.05,
        True,
    )
    yield Target(
        DENSE, "layer, dense, 128 tokens: MAC utilisation", found.get(case, "utilisation"), 0.9
    )


def _pruned(found):
    """Yield the targets of pruned layers: weight operations near the limit, speed-up over dense."""
    for zeros, wanted in FASTER.items():
        for tokens, speed in ((128, 16), (32, 16), (16, 16), (128, 4)):
            figure = found.weights_to_limit(
                Passage(tokens=tokens, sparsity=zeros, bytes_per_cycle=speed)
            )
            yield Target(
                PRUNED,
                f"layer, {_percent(zeros)}, {tokens} rows, {speed} bytes/cycle: "
                "weight operations / limit",
                figure,
                1.07,
                True,
            )
        figure = _ratio(
            found.get(Passage(tokens=128), "cycles"),
            found.get(Passage(tokens=128, sparsity=zeros), "cycles"),
        )
        yield Target(
            PRUNED, f"layer, {_percent(zeros)}, 128 tokens: times as fast as dense", figure, wanted
        )


def _edgebert(found):
    for zeros, wanted in THEIRS.items():
        figure = found.get(
            Passage(tokens=128, sparsity=zeros, layers=MODELS["base"].layers),
            "speedup_vs_edgebert",
            "sentence",
        )
        yield Target(
            EDGEBERT,
            f"12 layers, {_percent(zeros)}, 128 tokens: times as fast as EdgeBERT",
            figure,
            wanted,
        )


def _lengths(found):
    """Yield the targets of short sentences: cycles fall with the length and stay near the limit."""
    for zeros in (0.0, 0.6):
        for tokens in (128, 64):
            cycles = [
                found.get(Passage(tokens=length, sparsity=zeros), "cycles")
                for length in (tokens, tokens // 2)
            ]
            yield Target(
                LENGTHS,
                f"layer, {_percent(zeros)}: cycles of {tokens} tokens / {tokens // 2}",
                _ratio(*cycles),
                1.85,
            )
        for tokens in (16, 8, 4, 1):
            case = Passage(tokens=tokens, sparsity=zeros)
            bound = found.get(case, "bound") or "?"
            yield Target(
                LENGTHS,
                f"layer, {_percent(zeros)}, {tokens} token{'s' * (tokens > 1)} ({bound}): "
                "cycles / limit",
                found.to_limit(case),
                1.1,
                True,
            )


def _streams(found):
    alone, together = (
        [*itertools.chain(*streams(slots)), *fitted_streams(slots)] for slots in (1, 8)
    )
    for one, eight in zip(alone, together, strict=True):
        yield from _stream(found, one, eight)


def _stream(found, one, eight):
    """Yield the targets of a stream with 1 and 8 slots: throughput, weight bytes, live lanes."""
    lanes, scope = one.hardware.tokens, "stream"
    name = f"{one.sentences} sentences, {one.model}, {lanes}x{one.hardware.columns}"
    throughput = _ratio(found.get(one, "cycles", scope), found.get(eight, "cycles", scope))
    yield Target(
        STREAMS, f"{name}: throughput, 8 slots / 1", throughput, THROUGHPUT[one.model, lanes]
    )
    yield Target(STREAMS, f"{name}: 1 slot, cycles / limit", found.to_limit(one, scope), 1.1, True)
    if one.model == "base":
        weights = _ratio(
            found.get(eight, "weight_bytes", scope), found.get(one, "weight_bytes", scope)
        )
        yield Target(STREAMS, f"{name}: weight bytes, 8 slots / 1", weights, 0.25, True)
    elif lanes == 16:
        yield Target(
            STREAMS,
            f"{name}, 8 slots: live lanes in weight operations",
            found.get(eight, "live_lanes", scope),
            0.9,
        )
        yield Target(
            STREAMS,
            f"{name}, 8 slots: live lanes in all of the array",
            found.get(eight, "live_lanes_array", scope),
            0.82,
        )


def _deadlines(found):
    first_come, deadline_first = (
        found.get(case, "deadlines_met", "stream") for case in deadline_streams()
    )
    shares = f": {deadline_first:.1%} / {first_come:.1%}" if first_come and deadline_first else ""
    yield Target(
        STREAMS,
        f"{MANY} sentences, tiny: deadlines met, deadline first / first come{shares}",
        _ratio(deadline_first, first_come),
        1.01,
    )


def _bus(found):
    """The worst of all memories."""
    rows = [
        row
        for zeros in SPARSITIES
        for tokens in (128, 16)
        for speed, latency in MEMORIES
        if (
            row := found.row(
                Passage(tokens=tokens, sparsity=zeros, bytes_per_cycle=speed, latency=latency)
            )
        )
    ]
    compute = [row for row in rows if row.bound == COMPUTE and row.bus_stalls is not None]
    memory = [row for row in rows if row.bound != COMPUTE]
    most = max(compute, key=lambda row: row.bus_stalls, default=None)
    least = min(memory, key=lambda row: row.bus_busy, default=None)
    yield Target(
        BUS,
        f"bus stalls of {len(compute)} compute-bound layers, {_memory(most)}",
        most and most.bus_stalls,
        0.03,
        True,
    )
    yield Target(
        BUS,
        f"bus busy in {len(memory)} memory-bound layers, {_memory(least)}",
        least and least.bus_busy,
        0.95,
    )


def _memory(row):
    return (
        row
        and f"worst: {_percent(row.sparsity)}, {row.tokens} tokens, "
        f"{row.bus_bytes} bytes/cycle, latency {row.latency}"
    )
