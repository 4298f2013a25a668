# SPDX-License-Identifier: Apache-2.0
"""`terse bench` without a simulator.

EdgeBERT's formula, limits of a toy counted by hand, files, resuming, pictures, bad arguments.
"""

import csv
import dataclasses
import json
import sys

import pytest

from firmware.compiler import CompileError
from golden_model.config import MODELS
from golden_model.formats import ETA_FRAC
from golden_model.hardware import HARDWARE
from golden_model.model import run
from sim.cycles.measure import COUNTERS
from sim.cycles.operations import Measurement, Operation
from terse import cli
from terse.benchmark import cases as kinds
from terse.benchmark import edgebert, kept, plots, running, sweep, tables, timing
from terse.benchmark import rows as benching
from terse.benchmark.cases import Emulated, Fitted, Passage, Stream, twin
from terse.benchmark.plots import write_plots
from terse.benchmark.profile import fit
from terse.errors import UserError

BASE = MODELS["base"]
FALLING = (12, 9, 4)
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


# EdgeBERT: figures computed by hand from the formula, and what its sources give.


def test_edgebert_layer():
    products = 931_135_488 // 256  # 931.1 M multiplications by 16 x 16
    vectors = 27 * (12 * 128 * 8 + 2 * 128 * 48)
    assert round(products / 1e6, 3) == 3.637 and round(vectors / 1e6, 3) == 0.664
    assert edgebert.layer_cycles(BASE, 128) == 2 * products + vectors == 7_938_048
    assert "= 2 x 3.637 M + 0.664 M = 7.94 M" in edgebert.text(BASE, 128)


def test_edgebert_operations():
    cycles = edgebert.operation_cycles(BASE, 128)
    assert (
        cycles["q"]
        == cycles["k"]
        == cycles["v"]
        == cycles["attention"]
        == 2 * 128 * 768 * 768 // 256
    )
    assert cycles["hidden"] == cycles["ffn"] == 4 * cycles["q"]
    assert cycles["context"] == 2 * 2 * 12 * 128 * 128 * 64 // 256 + 331_776


def test_edgebert_other_sizes():
    assert edgebert.product(1, 768, 768, 16) == edgebert.product(
        16, 768, 768, 16
    )  # padding takes time like data
    assert edgebert.layer_cycles(BASE, 17) == edgebert.layer_cycles(BASE, 32) - 27 * (
        12 * 15 * 2 + 2 * 15 * 48
    )
    assert edgebert.product(128, 768, 768, 8) == 4 * edgebert.product(128, 768, 768, 16)


def test_edgebert_host():
    tiles = 8 * 48 * 4 + 12 * (8 * 8 + 8 * 4) + 8 * 192 + 8 * 48
    assert (
        edgebert.layer_cycles(BASE, 128, trip=100) - edgebert.layer_cycles(BASE, 128) == 100 * tiles
    )
    assert "(host, 100 a tile)" in edgebert.text(BASE, 128, trip=100)


# Rows: limits of a toy on 4 x 4 lanes.


def operation(name, opcode="LINEAR", embeds=False, **values):
    zero = dict(
        layer=0,
        rows=6,
        tokens=6,
        cycles=100,
        counters=dict.fromkeys(COUNTERS, 0),
        bytes=0,
        macs=0,
        lanes=0,
        compute=0,
        weight_bytes=0,
    )
    return Operation(name=name, opcode=opcode, embeds=embeds, **zero | values)


def toy():
    """Two tiles of 6 rows.

    q with 40 non-zeros takes at least 40 x 2 / 4 cycles, its 48 bytes 48 / 16; ffn, 8 non-zeros,
    waits for 800 bytes.
    """
    return Measurement(
        [
            operation("embed_sum", "ADMIT", True, cycles=50, bytes=90),
            operation("q", cycles=25, macs=240, lanes=320, compute=20, weight_bytes=48, bytes=80),
            operation(
                "ffn",
                cycles=75,
                macs=48,
                lanes=64,
                compute=4,
                weight_bytes=800,
                bytes=832,
                counters=dict.fromkeys(COUNTERS, 0) | {"STALL_WEIGHTS": 11},
            ),
            operation("entropy", "EXIT", cycles=10, bytes=32),
        ],
        160,
        [6],
        [[6]],
        [150],
        [155],
        simulated=5000,
        seconds=0.5,
        peak_memory_mb=12.3,
    )


CASE = Passage("nano", HARDWARE["ci"], tokens=6, sparsity=0.6)


def test_rows():
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


# Running, without running anything.


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

    monkeypatch.setattr(kept, "simulate", fake)
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


def test_plots_of_a_stream(tmp_path):
    stream = Stream("tiny", sweep.stream_hardware(4, 4), slots=2, sentences=1)
    assert [
        path.name
        for path in write_plots(
            tmp_path, benching.Result([(stream, toy())], [benching.rows(stream, toy())])
        )
    ] == []


def test_plots_of_zeros_and_tokens(tmp_path):
    """The two charts of the README, of any cycles."""
    zeros = [
        kind
        for share in (0.0, 0.6)
        for kind in (
            Passage(tokens=128, sparsity=share, layers=12),
            Emulated(sparsity=share, profile=(128, 82, 51, 31)),
        )
    ]
    tokens = [
        Passage(tokens=count, sparsity=share) for share in (0.0, 0.8) for count in (128, 16, 1)
    ]
    runs = [(case, toy()) for case in zeros + tokens]
    paths = write_plots(tmp_path, benching.Result(runs, [benching.rows(*run) for run in runs]))
    assert {"zeros.png", "zeros_dark.png", "tokens.png", "tokens_dark.png"} <= {
        path.name for path in paths
    }


def test_few_layers_are_shown():
    """Up to four as they are, simulated before modelled; of more the usual ones, and it is said."""
    cases = [
        twin(Passage(tokens=count), source)
        for count in (128, 16)
        for source in ("model", "simulated")
    ]
    some, note = plots.chosen(benching.Result([(case, toy()) for case in cases], [[]] * 4))
    assert [case.source for case, *_ in some] == ["simulated"] * 2 and not note
    cases = [case for case in sweep.full_cases() if case.is_layer]
    some, note = plots.chosen(benching.Result([(case, toy()) for case in cases], [[]] * len(cases)))
    assert [(case.tokens, case.sparsity) for case, *_ in some] == [
        (128, 0.0),
        (128, 0.6),
        (16, 0.6),
    ]
    assert note.startswith("3 of ")


def test_plot_of_deadlines(tmp_path):
    runs = [(case, toy()) for case in sweep.deadline_streams(1)]
    paths = write_plots(tmp_path, benching.Result(runs, [benching.rows(*run) for run in runs]))
    assert [path.name for path in paths] == ["deadlines.png", "deadlines_dark.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


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


def test_cycle_model():
    """Of one sentence, of an emulated profile, of the trained model's stream.

    It is what the golden model says, or the profile.
    """
    one = running.model(dataclasses.replace(CASE, layers=3, source="model"))
    assert (one.source, one.tokens, one.exit_layers) == ("model", [6], [3])
    profile = running.model(
        Emulated(
            "nano", HARDWARE["ci"], slots=2, sparsity=0.6, layers=3, sentences=4, profile=(6, 4)
        )
    )
    assert (
        profile.tokens == [6] * 4
        and profile.live == [[6, 4]] * 4
        and all(0 < one < profile.cycles for one in profile.latencies)
    )
    stream = running.model(
        Stream("tiny", HARDWARE["ci"], slots=2, sentences=2, bytes_per_cycle=4, source="model")
    )
    assert len(stream.tokens) == 2 and max(stream.exit_layers) <= MODELS["tiny"].layers


def test_nobody_leaves_a_random_network():
    """What the cycle model takes for granted of random sentences is what the golden model finds."""
    for zeros in (0.0, 0.6, 0.8):
        case = dataclasses.replace(CASE, tokens=16, layers=3, sparsity=zeros)
        ((ids, segments),) = running.queue(case)
        sentence = running._golden(running.network_key(case), (tuple(ids), tuple(segments)))
        assert sentence.entering == sentence.live == (16,) * 3


def test_long_streams_need_data(monkeypatch):
    """Without SST-2's dev split the samples come again, and it is said."""
    long = Stream("tiny", HARDWARE["ci"], sentences=70, source="model")
    monkeypatch.setattr(running, "has_data", lambda: False)
    queue = running.queue(long)
    assert len(queue) == 70 and queue[64:] == queue[:6] and queue[0] != queue[1]
    monkeypatch.setattr(benching, "has_data", lambda: False)
    monkeypatch.setattr(kept, "measure", lambda some, watch: dict.fromkeys(some, toy()))
    assert (
        "repeat the samples" in benching.bench([long]).notes[0] and not benching.bench([CASE]).notes
    )


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


def test_fitted_profile(monkeypatch):
    """The mean of the profile, though not each sentence's.

    What is simulated is what the golden model keeps, and so is what the cycle model runs.
    """
    case = Fitted("nano", HARDWARE["ci"], sparsity=0.6, slots=2, sentences=4, profile=FALLING)
    live = [run(running.network(case), *words).tokens_per_layer for words in running.queue(case)]
    staying = [sum(counts) for counts in zip(*live, strict=True)]
    assert (
        staying == pytest.approx([4 * tokens for tokens in FALLING], abs=1)
        and len({tuple(one) for one in live}) > 1
    )
    assert running.model(dataclasses.replace(case, source="model")).live == live
    monkeypatch.setattr(
        running.measuring,
        "measure",
        lambda network, config, sentences, *_: (network, len(sentences)),
    )
    network, sentences = running.simulate(case)
    assert (
        network is running.network(case)
        and sentences == 4
        and "tokens about 12 9 4, 60% zeros" in case.label
    )


def test_fit_keeps_what_the_rule_allows():
    """Nobody is dropped where all are to stay; who has more than the mean always stays.

    A profile that rises is none.
    """
    case = dataclasses.replace(CASE, layers=3)
    network, words = running.network(case), running.queue(case)
    eta = fit(network, words, (6, 6, 1))
    first, second, third = run(dataclasses.replace(network, eta=eta), *words[0]).tokens_per_layer
    assert first == second == 6 > third > 1 and 0 < eta[0] < eta[2] == 1 << ETA_FRAC
    for profile in ((4, 5, 1), (6, 5), (6, 5, 0)):
        with pytest.raises(ValueError, match="Profile must be 3 numbers of tokens"):
            fit(network, words, profile)


def test_profile_is_not_simulated():
    case = sweep.streams(8)[0][1]
    with pytest.raises(
        UserError,
        match="not what a profile says: base 16x16, 256 sentences, 8 slots, "
        "tokens 25 16 10 6, 60% zeros",
    ):
        running.simulate(case)


def test_select():
    assert [case.source for case in sweep.select(sweep.quick_cases(), ["32 tokens, 80%"])] == [
        "simulated",
        "model",
    ]
    with pytest.raises(UserError):
        sweep.select(sweep.quick_cases(), ["100 tokens"])
