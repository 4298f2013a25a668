# SPDX-License-Identifier: Apache-2.0
"""Rows of `terse bench`: figures of a toy counted by hand."""

import dataclasses

from golden_model.config import MODELS
from terse.benchmark import cases as kinds
from terse.benchmark import edgebert, running, sweep
from terse.benchmark import rows as benching
from terse.benchmark.cases import Stream
from tests.toy import CASE, operation, toy


def test_rows():
    """Limits, bounds, shares and EdgeBERT's cycles of a toy measurement, counted by hand."""
    rows = {row.name: row for row in benching.rows(CASE, toy())}
    assert list(rows) == ["embed_sum", "q", "ffn", "entropy", "layer", "sentence"]
    q, ffn, layer, whole = (rows[name] for name in ("q", "ffn", "layer", "sentence"))
    assert (q.limit_cycles, q.bound, q.utilisation, q.rows) == (20, "compute", 240 / (25 * 16), 6)
    assert (ffn.limit_cycles, ffn.bound) == (50, "memory")
    assert (layer.cycles, layer.limit_cycles, layer.bound, layer.bytes) == (
        110,
        53,
        "memory",
        944,
    )  # (48 + 800) / 16 above 24
    assert (whole.cycles, whole.scope, whole.bytes, whole.tokens) == (160, "sentence", 1034, 6)
    assert rows["embed_sum"].edgebert_cycles is None and rows["entropy"].speedup_vs_edgebert is None
    assert (layer.weight_bytes, layer.live_lanes, layer.bus_stalls, layer.bus_busy) == (
        848,
        0.75,
        0.1,
        round(944 / 110 / 16, 4),
    )
    assert (whole.latency_mean, whole.latency_max, layer.latency_max) == (150, 150, None)
    theirs = edgebert.layer_cycles(MODELS["nano"], 6, n=4)
    assert layer.edgebert_cycles == theirs and layer.speedup_vs_edgebert == round(theirs / 110, 3)


def test_rows_of_many_layers():
    case = dataclasses.replace(CASE, layers=3)
    measurement = dataclasses.replace(
        toy(), live=[[6, 4]], source="model"
    )  # leaves after the second
    rows = benching.rows(case, measurement, trip=7)
    assert [row.scope for row in rows if row.scope != "operation"] == ["sentence"]
    theirs = edgebert.layer_cycles(MODELS["nano"], 6, 4, 7)
    assert rows[-1].edgebert_cycles == 2 * theirs and rows[-1].source == "model"
    assert (
        rows[-1].product_vs_edgebert == round(3 * theirs / rows[-1].cycles, 3)
        and rows[0].product_vs_edgebert is None
    )


def test_limit_of_passes():
    """A pass that waits for its weights does not make up for one that multiplies."""
    operations = [
        operation("q", layer=0, compute=100, weight_bytes=160),
        operation("q", layer=1, compute=20, weight_bytes=1600),
    ]
    row = benching.rows(
        dataclasses.replace(CASE, layers=2), dataclasses.replace(toy(), operations=operations)
    )[0]
    assert (row.limit_cycles, row.bound) == (100 + 100, "compute")


def test_live_lanes_of_a_stream():
    """Only as long as sentences come: the third pass admits nobody."""
    stream = Stream("tiny", sweep.stream_hardware(4, 4), slots=2, sentences=3)
    operations = [
        operation("x", layer=0, embeds=True, weight_bytes=1, macs=10, lanes=10),
        operation("context", "ATTEND", layer=0, macs=20, lanes=40),
        operation("x", layer=1, embeds=True, weight_bytes=1, macs=8, lanes=10),
        operation("embed_sum", "ADMIT", layer=2, embeds=True, rows=0),
        operation("q", layer=2, weight_bytes=1, macs=1, lanes=10),
    ]
    row = benching.rows(
        stream,
        dataclasses.replace(
            toy(),
            operations=operations,
            tokens=[2] * 3,
            live=[[2, 1], [2, 2], [1]],
            latencies=[10, 20, 60],
            ends=[10, 30, 90],
        ),
    )[-1]
    assert (row.scope, row.live_lanes, row.live_lanes_array) == ("stream", 0.9, round(38 / 60, 4))
    assert (row.latency_mean, row.latency_max, row.live_tokens) == (30, 60, [1.67, 1.5])


def test_deadlines():
    """The same deadlines in both orders, each beside its sentence; an end at it meets it."""
    first_come, deadline_first = (case.deadlines for case in sweep.deadline_streams(5))
    assert sorted(first_come) == deadline_first != first_come
    assert kinds.LEAST <= deadline_first[0] < deadline_first[-1] <= kinds.LEAST + 5 * kinds.PACE
    case, words = (
        sweep.deadline_streams(5)[1],
        [running.queue(case) for case in sweep.deadline_streams(5)],
    )
    assert [words[0][first_come.index(deadline)] for deadline in deadline_first] == words[1]
    ends = [deadline_first[0], deadline_first[1] + 1, *deadline_first[2:4], 2 * deadline_first[4]]
    measurement = dataclasses.replace(toy(), ends=ends)
    assert (
        benching.deadlines_met(case, measurement) == 0.6
        and benching.deadlines_met(case, measurement, 2) == 1.0
    )
    assert benching.deadlines_met(CASE, toy()) is None
