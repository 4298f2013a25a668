# SPDX-License-Identifier: Apache-2.0
"""The targets of `terse bench` on rows made by hand."""

import dataclasses

from terse.benchmark.cases import Passage
from terse.benchmark.rows import CaseResult, ResultRow
from terse.benchmark.sweep import deadline_streams, fitted_streams, streams
from terse.benchmark.tables import streams_table, targets_table
from terse.benchmark.targets import (
    BUS,
    DENSE,
    EDGEBERT,
    LENGTHS,
    MODELS_AGREE,
    PRUNED,
    STREAMS,
    Target,
    targets,
)

EMPTY = dict.fromkeys(field.name for field in dataclasses.fields(ResultRow))


def row(name, scope, **values):
    """A Row of a dense layer's settings with 128 tokens and `values`; other fields are None."""
    return ResultRow(
        **EMPTY
        | {
            "name": name,
            "scope": scope,
            "bound": "compute",
            "sparsity": 0.0,
            "tokens": 128,
            "bus_bytes": 16,
            "latency": 100,
            "weight_bytes": 0,
            "bus_busy": 1.0,
        }
        | values
    )


def found(*tables):
    """{text: target} of (case, rows) pairs, those with a figure."""
    result = CaseResult([(case, None) for case, _ in tables], [rows for _, rows in tables])
    return {target.what: target for target in targets(result) if target.figure is not None}


def test_nothing_measured():
    asked = targets(CaseResult([], []))
    topics = {DENSE, PRUNED, EDGEBERT, LENGTHS, STREAMS, BUS, MODELS_AGREE}
    assert {target.topic for target in asked} == topics
    assert all(target.met is None for target in asked)
    assert len(targets_table(asked).rows) == len(asked)


def test_met():
    assert Target(DENSE, "", 1.0, 1.0).met and Target(DENSE, "", 1.0, 1.0, True).met
    assert not Target(DENSE, "", 0.9, 1.0).met and not Target(DENSE, "", 1.1, 1.0, True).met


def test_layer():
    """Weight operations without projection of the embedding and attention, each with its limit."""
    rows = [
        row("x", "operation", weight_bytes=9, cycles=500, limit_cycles=1),
        row("q", "operation", weight_bytes=9, cycles=104, limit_cycles=100),
        row("context", "operation", cycles=500, limit_cycles=1),
        row("ffn", "operation", weight_bytes=9, cycles=208, limit_cycles=200),
        row("layer", "layer", cycles=1000, limit_cycles=900, utilisation=0.89),
    ]
    sparse = [row("layer", "layer", cycles=400, limit_cycles=390)]
    asked = found(
        (Passage(tokens=128), rows), (Passage(tokens=128, sparsity=0.6, source="model"), sparse)
    )
    weights, use = (
        asked["layer, dense, 128 tokens: weight operations / limit"],
        asked["layer, dense, 128 tokens: MAC utilisation"],
    )
    assert (weights.topic, weights.figure, weights.met) == (DENSE, 1.04, True) and (
        use.figure,
        use.met,
    ) == (0.89, False)
    faster = asked["layer, 60% zeros, 128 tokens: times as fast as dense"]
    assert (faster.topic, faster.figure, faster.met) == (PRUNED, 2.5, True)


def test_lengths():
    """Targets of lengths are met and missed on each side of their bounds."""
    tables = [
        (
            Passage(tokens=tokens),
            [row("layer", "layer", cycles=cycles, limit_cycles=100, bound="memory")],
        )
        for tokens, cycles in ((128, 1000), (64, 500), (32, 300), (16, 108), (1, 112))
    ]
    asked = found(*tables)
    assert (
        asked["layer, dense: cycles of 128 tokens / 64"].met
        and not asked["layer, dense: cycles of 64 tokens / 32"].met
    )
    assert (
        asked["layer, dense, 16 tokens (memory): cycles / limit"].met
        and not asked["layer, dense, 1 token (memory): cycles / limit"].met
    )


def test_sentence():
    asked = found(
        (
            Passage(tokens=128, sparsity=0.8, layers=12),
            [row("sentence", "sentence", speedup_vs_edgebert=7.5)],
        )
    )
    assert [(target.topic, target.figure, target.met) for target in asked.values()] == [
        (EDGEBERT, 7.5, True)
    ]


def test_streams():
    """Targets of streams by model and slots, met and missed, and a line for each stream."""
    (one, base), (eight, base8) = streams(1)[0], streams(8)[0]
    values = dict(
        limit_cycles=95, live_lanes=0.95, live_lanes_array=0.8, latency_mean=5, latency_max=6
    )
    tables = [
        (case, [row("256 sentences", "stream", cycles=cycles, weight_bytes=size, **values)])
        for case, cycles, size in ((one, 100, 8), (eight, 60, 1), (base, 100, 8), (base8, 80, 1))
    ]
    asked = {
        name.split(": ")[-1] + name.split(", ")[1]: target.met
        for name, target in found(*tables).items()
    }
    assert asked == {
        "throughput, 8 slots / 1tiny": True,
        "1 slot, cycles / limittiny": True,
        "live lanes in weight operationstiny": True,
        "live lanes in all of the arraytiny": False,
        "throughput, 8 slots / 1base": False,
        "1 slot, cycles / limitbase": True,
        "weight bytes, 8 slots / 1base": True,
    }
    assert (
        len(
            streams_table(
                CaseResult([(case, None) for case, _ in tables], [rows for _, rows in tables])
            ).rows
        )
        == 4
    )


def test_fitted_stream():
    """Targets of streams beside those of 256 sentences."""
    values = dict(limit_cycles=95, live_lanes=0.95, live_lanes_array=0.8)
    tables = [
        (
            fitted_streams(slots)[0],
            [row("16 sentences", "stream", cycles=cycles, weight_bytes=size, **values)],
        )
        for slots, cycles, size in ((1, 100, 8), (8, 60, 1))
    ]
    asked = found(*tables)
    throughput = asked["16 sentences, base, 16x16: throughput, 8 slots / 1"]
    assert len(asked) == 3 and (throughput.topic, throughput.wanted, throughput.met) == (
        STREAMS,
        1.6,
        True,
    )


def test_deadlines():
    tables = [
        (case, [row("256 sentences", "stream", deadlines_met=share)])
        for case, share in zip(deadline_streams(), (0.5, 0.75), strict=True)
    ]
    (target,) = found(*tables).values()
    assert (target.topic, target.figure, target.met) == (
        STREAMS,
        1.5,
        True,
    ) and "75.0% / 50.0%" in target.what


def test_agreement():
    """Of cases that were simulated and modelled the one that differs most.

    Where both are there, targets are about the simulated one.
    """
    tables = [
        (
            Passage(tokens=128, sparsity=zeros, source=source),
            [row("layer", "layer", cycles=cycles, limit_cycles=100, utilisation=cycles / 100)],
        )
        for source, zeros, cycles in (
            ("model", 0.0, 101),
            ("simulated", 0.0, 100),
            ("simulated", 0.6, 50),
            ("model", 0.6, 49),
        )
    ]
    asked = found(*tables)
    target = asked["cycle model and 2 simulated cases: largest difference"]
    assert (target.topic, round(target.figure, 6), target.met) == (MODELS_AGREE, 0.02, False)
    assert asked["layer, dense, 128 tokens: MAC utilisation"].figure == 1.0


def test_bus():
    """The worst memory decides, and is named."""
    tables = [
        (
            Passage(tokens=128, latency=latency),
            [row("layer", "layer", cycles=1, limit_cycles=1, latency=latency, bus_stalls=stalls)],
        )
        for latency, stalls in ((20, 0.01), (400, 0.04))
    ]
    waits = row(
        "layer", "layer", cycles=1, limit_cycles=1, bound="memory", bus_stalls=0.5, bus_busy=0.96
    )
    tables.append((Passage(tokens=16, bytes_per_cycle=4), [waits]))
    stalls, busy = (target for target in found(*tables).values() if target.topic == BUS)
    assert (
        (stalls.figure, stalls.met) == (0.04, False)
        and "latency 400" in stalls.what
        and "2 compute-bound" in stalls.what
    )
    assert (busy.figure, busy.met) == (0.96, True)
