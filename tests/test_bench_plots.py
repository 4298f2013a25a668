# SPDX-License-Identifier: Apache-2.0
"""Pictures of `terse bench`."""

from terse.benchmark import plots, sweep
from terse.benchmark import rows as benching
from terse.benchmark.cases import Emulated, Passage, Stream, twin
from terse.benchmark.plots import write_plots
from tests.toy import toy


def test_plots_of_a_stream(tmp_path):
    stream = Stream("tiny", sweep.stream_hardware(4, 4), slots=2, sentences=1)
    assert [
        path.name
        for path in write_plots(
            tmp_path, benching.CaseResult([(stream, toy())], [benching.rows(stream, toy())])
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
    paths = write_plots(tmp_path, benching.CaseResult(runs, [benching.rows(*run) for run in runs]))
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
    some, note = plots.chosen(benching.CaseResult([(case, toy()) for case in cases], [[]] * 4))
    assert [case.source for case, *_ in some] == ["simulated"] * 2 and not note
    cases = [case for case in sweep.full_cases() if case.is_layer]
    some, note = plots.chosen(
        benching.CaseResult([(case, toy()) for case in cases], [[]] * len(cases))
    )
    assert [(case.tokens, case.sparsity) for case, *_ in some] == [
        (128, 0.0),
        (128, 0.6),
        (16, 0.6),
    ]
    assert note.startswith("3 of ")


def test_plot_of_deadlines(tmp_path):
    runs = [(case, toy()) for case in sweep.deadline_streams(1)]
    paths = write_plots(tmp_path, benching.CaseResult(runs, [benching.rows(*run) for run in runs]))
    assert [path.name for path in paths] == ["deadlines.png", "deadlines_dark.png"]
    assert all(path.stat().st_size > 5000 for path in paths)
