# SPDX-License-Identifier: Apache-2.0
"""`terse bench` without a simulator: cases, files, resuming, bad arguments."""

import csv
import dataclasses
import json
import sys

import pytest

from firmware.compiler import CompileError
from sim.cycles.operations import Measurement
from terse import cli
from terse.benchmark import kept, sweep, tables, timing
from terse.benchmark import rows as benching
from terse.benchmark.cases import Emulated, Stream
from terse.errors import UserError
from tests.toy import CASE, toy

KEYS = [
    "name",
    "scope",
    "model",
    "T",
    "P",
    "slots",
    "sparsity",
    "tokens",
    "rows",
    "bus_bytes",
    "latency",
    "buffer_kb",
    "cycles",
    "limit_cycles",
    "bound",
    "utilisation",
    "bytes",
    "edgebert_cycles",
    "speedup_vs_edgebert",
    "source",
    "weight_bytes",
    "bus_busy",
    "bus_stalls",
    "live_lanes",
    "live_lanes_array",
    "latency_mean",
    "latency_max",
    "deadlines_met",
    "live_tokens",
    "product_vs_edgebert",
]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Cases that were measured, all as `toy`; the third simulation is interrupted."""
    done = []

    def fake(case, watch):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(case)
        return toy()

    def predicted(case):
        if case.tokens == 3:
            raise CompileError("It does not fit")
        return Measurement(
            toy().operations,
            160,
            [case.tokens],
            [[case.tokens] * case.layers],
            [160],
            [160],
            "model",
        )

    monkeypatch.setattr(kept, "simulate_case", fake)
    monkeypatch.setattr(kept, "model", predicted)
    monkeypatch.setattr(kept, "STORE", tmp_path / "store")
    return done


def test_bench_goes_on(measured):
    cases = [dataclasses.replace(CASE, tokens=tokens) for tokens in (6, 5, 4)]
    seen = []
    with pytest.raises(KeyboardInterrupt):
        benching.bench(cases)
    result = benching.bench(cases[:2], watch=lambda *words: seen.append(words))
    assert measured == cases[:2] and seen == [(case, None) for case in cases[:2]]
    assert result.tables[0] == benching.rows(cases[0], toy()) and len(result.rows) == 12


def test_model(measured):
    """In processes of its own; a case that no program fits is left out with the reason.

    What is not simulated does not count as simulation.
    """
    cases = [dataclasses.replace(CASE, tokens=tokens, source="model") for tokens in (6, 5, 4, 3)]
    seen = []
    result = benching.bench(cases, watch=lambda *words: seen.append(words))
    assert (
        sorted(seen, key=str) == sorted(((case, None) for case in cases), key=str) and not measured
    )
    assert [case for case, _ in result.runs] == cases[:3] and {
        row.source for row in result.rows
    } == {"model"}
    assert result.notes == [f"{cases[3].label}: left out. It does not fit"]
    assert result.to_json()["simulation"] == {"cycles_per_second": 0, "peak_memory_mb": 0.0}


def test_model_fails(measured, monkeypatch):
    def broken(case):
        raise RuntimeError("no model")

    monkeypatch.setattr(kept, "model", broken)
    with pytest.raises(RuntimeError, match="no model"):
        benching.bench([dataclasses.replace(CASE, source="model")])


def test_keys_differ():
    cases = sweep.full_cases()
    assert (
        len({case.key for case in cases})
        == len(cases)
        == len({(case.label, case.source) for case in cases})
    )
    assert {case.source for case in cases if isinstance(case, Emulated)} == {"model"}


def test_quick_cases():
    """What is simulated, the cycle model does too."""
    cases, quick = sweep.full_cases(), sweep.quick_cases()
    simulated = [case for case in quick if case.source == "simulated"]
    assert (
        simulated
        == [
            case
            for case in cases
            if "16x16, 1 layer, 32 tokens" in case.label and case.source == "simulated"
        ]
        and len(simulated) == 3
    )
    models, fitted = (
        sweep.with_source(cases, "model"),
        [*sweep.fitted_streams(1), *sweep.fitted_streams(8)],
    )
    assert set(fitted) <= set(cases) and set(models) | set(simulated) == set(quick) | set(
        sweep.with_source(fitted, "model")
    )
    assert all(case.source == "model" for case in models)
    assert {case.label for case in models} == {case.label for case in cases}
    assert {
        case.source
        for case in sweep.with_source(cases, "simulated")
        if not isinstance(case, Emulated)
    } == {"simulated"}


def test_key_of_the_model_does_not_hang_on_the_rtl(monkeypatch):
    model = dataclasses.replace(CASE, source="model")
    before = CASE.key, model.key
    monkeypatch.setattr("sim.cosim.build.sources_digest", lambda: "edited")
    assert CASE.key != before[0] and model.key == before[1]


def test_command(measured, tmp_path, monkeypatch, capsys):
    """`terse bench` prints its tables and writes JSON, CSV and plots of the same rows."""
    arguments = [
        "--quick",
        "--only",
        "32 tokens, 60%",
        "--source",
        "simulated",
        "--json",
        tmp_path / "a.json",
        "--csv",
        tmp_path / "a.csv",
        "--plot",
        tmp_path / "plots",
    ]
    monkeypatch.setattr(sys, "argv", ["terse", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    out = capsys.readouterr().out
    assert (
        "EdgeBERT, n = 16, S = 128" in out
        and "base 16x16, 1 layer, 32 tokens," in out
        and "targets" in out
    )
    written = json.loads((tmp_path / "a.json").read_text())
    assert list(written) == ["rows", "simulation"]
    assert written["simulation"] == {"cycles_per_second": 10_000, "peak_memory_mb": 12.3}
    assert all(
        list(row) == KEYS and row["bound"] in ("compute", "memory") and row["source"] == "simulated"
        for row in written["rows"]
    )
    assert {row["scope"] for row in written["rows"]} == {"operation", "layer", "sentence"}
    with open(tmp_path / "a.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == [row["name"] for row in written["rows"]] and list(
        lines[0]
    ) == KEYS
    assert lines[0]["edgebert_cycles"] == "" and float(lines[1]["limit_cycles"]) == 20
    assert all(
        (tmp_path / "plots" / f"{name}.png").stat().st_size > 5000
        for name in ("roofline", "roofline_dark", "timeline", "timeline_dark")
    )


def test_shapes(measured):
    """A row for each shape, columns for the lengths that all of them have."""
    cases = [
        case
        for case in sweep.with_source(sweep.full_cases(), "model")
        if case.is_layer and case.sparsity == 0.6 and case.hardware.tokens in (16, 64)
    ]
    table = tables.shapes_table(benching.bench(cases))
    headers = [column.header for column in table.columns]
    assert len(table.rows) == 2 and headers[2::2] == [
        "cycles, 128 tokens",
        "cycles, 25 tokens",
        "cycles, 6 tokens",
    ]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--only", "GPT"), "--only must be part of a case's name, as 'base 16x16"),
        (("--quick", "--trip", "-1"), "--trip must be at least 0, not -1"),
        (("--source", "guess"), "--source must be model or simulated, not 'guess'"),
    ],
)
def test_bad_arguments(monkeypatch, capsys, arguments, text):
    monkeypatch.setattr(sys, "argv", ["terse", "bench", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2 and text in capsys.readouterr().err


def test_golden_times(monkeypatch, capsys):
    monkeypatch.setattr(timing, "BASE", dataclasses.replace(CASE, layers=3))
    monkeypatch.setattr(timing, "DEV", Stream("tiny", sentences=3))
    monkeypatch.setattr(sys, "argv", ["terse", "bench", "--golden"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    base, dev = capsys.readouterr().out.splitlines()
    assert (
        not stop.value.code
        and base.startswith("golden model, nano, 3 layers, 1 sentence of 6 tokens: ")
        and "tiny, 3 sentences of" in dev
    )


def test_settings():
    cases = sweep.quick_cases()
    changed = sweep.with_settings(cases, ["T=8", "P=8"])
    assert all((one.hardware.tokens, one.hardware.columns) == (8, 8) for one in changed)
    assert 0 < len(changed) < len(cases)  # those of all shapes are one
    with pytest.raises(UserError, match="Hardware rows must be"):
        sweep.with_settings(cases, ["rows=8"])


def test_select():
    assert [case.source for case in sweep.select(sweep.quick_cases(), ["32 tokens, 80%"])] == [
        "simulated",
        "model",
    ]
    with pytest.raises(UserError):
        sweep.select(sweep.quick_cases(), ["100 tokens"])


@pytest.mark.parametrize("text", ["[]", "{}", '{"measurement": 5}', '{"measurement": {"a": 1}}'])
def test_kept_file_of_another_kind(tmp_path, text):
    """It is as good as none."""
    path = tmp_path / "case.json"
    path.write_text(text)
    assert kept._load(path) is None and not path.exists()
