# SPDX-License-Identifier: Apache-2.0
"""Results side by side, and the linear rows."""

import json

import pytest

from compress.baseline import _overlaps, baselines
from compress.data.tasks import find_task
from compress.data.text_files import DataError
from compress.recipes.result_store import ResultStore
from terse.errors import UserError
from terse.results import linear_rows, markdown, read_results, write_table
from tests.recipes import toy_data

MODEL = {
    "task": "toy",
    "float": {"accuracy": 0.84},
    "compressed": {"accuracy": 0.83},
    "golden": {"accuracy": 0.835},
    "encoder_sparsity": 0.61,
    "embedding_sparsity": 0.6,
    "live_token_fraction": 0.45,
    "mean_exit_layer": 3.0,
    "layers": 6,
    "flops_speedup_nnz": 8.0,
    "bytes": 2_500_000,
}


def write(folder, value):
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(value))
    return folder


def test_table(tmp_path):
    folders = [
        write(tmp_path / "tiny", MODEL),
        write(tmp_path / "teacher", {"task": "toy", "dev_accuracy": 90.0}),
        write(tmp_path / "line", {"task": "toy", "baselines": {"linear": {"dev": 82.57}}}),
    ]
    rows = read_results(folders)
    lines = markdown(rows).splitlines()
    assert lines[2].startswith("| tiny | toy | 84.00 | 83.00 | 83.50 | 0.61 | 0.60 | 0.45 | 0.50 |")
    assert lines[3].startswith("| teacher | toy | 90.00 |")
    assert lines[4].startswith("| linear | toy | 82.57 |") and len(lines) == 5
    write_table(tmp_path / "table.csv", rows)
    assert (
        (tmp_path / "table.csv").read_text().splitlines()[1].startswith("tiny,toy,84.0,83.0,83.5")
    )


@pytest.mark.parametrize("value", [[], {}, {"task": "toy", "golden": 5}, {"baselines": {}}, "{"])
def test_results_of_others(tmp_path, value):
    folder = write(tmp_path / "run", value)
    if value == "{":
        (folder / "result.json").write_text("{")
    if value == {"baselines": {}}:
        assert read_results([folder]) == []
        return
    with pytest.raises(UserError, match="result.json"):
        read_results([folder])


def test_no_result(tmp_path):
    with pytest.raises(UserError, match="must hold a result.json"):
        read_results([tmp_path])


def test_linear_rows_stand_in_every_table(tmp_path, monkeypatch):
    """Of each task without one, computed once; where that cannot be, a note says why."""
    calls = []

    def made(task):
        calls.append(task.name)
        return {"linear": {"dev": 82.5}, "bayes": {"dev": 80.0}}

    monkeypatch.setattr("terse.results.baselines", made)
    rows = read_results([write(tmp_path / "tiny", MODEL)])
    rows.append({"run": "other", "task": "none"})
    data, store = toy_data(tmp_path / "data"), ResultStore(tmp_path / "store")
    for _ in range(2):
        found, notes = linear_rows(rows, data, store)
        assert [(row["run"], row["float %"]) for row in found] == [
            ("linear", 82.5),
            ("bayes", 80.0),
        ]
        assert len(notes) == 1 and notes[0].startswith("No linear row of none: No task 'none'")
    assert calls == ["toy"]
    assert linear_rows([*rows[:1], *found], data, store) == ([], [])


def test_baselines_without_their_library(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"must have scikit-learn, .* pip install 'terse\[study\]'"):
        baselines(find_task("toy", toy_data(tmp_path)))


def test_overlap_of_pairs():
    same, other = _overlaps([("a b c", "A b c"), ("a b c d", "x y")])
    assert same["share1"] == same["share3"] == 1.0 and same["length"] == 0.0
    assert other["share1"] == 0.0 and other["length"] == 0.5
