# SPDX-License-Identifier: Apache-2.0
"""Results of recipes and baselines, side by side."""

import csv
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from compress.baseline import BASELINE_VERSION, baselines
from compress.data.tasks import find_task
from compress.data.text_files import DataError
from golden_model.files import read_json
from terse.errors import UserError

__all__ = ["linear_rows", "markdown", "read_results", "write_table"]

BASELINES = ("linear", "bayes")
COLUMNS = (
    "run",
    "task",
    "float %",
    "compressed %",
    "golden %",
    "zeros encoder",
    "zeros embedding",
    "live tokens",
    "layers run",
    "FLOPs",
    "MB",
)


class ResultError(UserError, ValueError):
    """A result.json that is damaged."""


def read_results(folders: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Rows {column: value} of folders with a result.json; a baseline gives two."""
    rows = []
    for folder in folders:
        path = folder / "result.json"
        if not path.is_file():
            raise UserError(f"{folder} must hold a result.json, as `terse compress` writes it")
        found = read_json(path, ResultError)
        try:
            rows += _baselines(found) if "baselines" in found else [_model(folder.name, found)]
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} must be a result of Terse: {error} is wrong in it") from error
    return rows


def linear_rows(rows: Sequence[dict[str, Any]], data, store) -> tuple[list[dict], list[str]]:
    """(rows of the baselines of the tasks that have none yet, why there are none of a task).

    data : folder of tasks; store : compress.recipes.result_store.ResultStore that keeps them
    """
    found, notes = [], []
    there = {row["task"] for row in rows if row["run"] in BASELINES}
    for name in dict.fromkeys(row["task"] for row in rows if row["task"] not in there):
        try:
            task = find_task(name, data)
            inputs = {"version": BASELINE_VERSION, "task": task.digest()}
            made = store.kept("baseline", inputs, functools.partial(baselines, task))
            found += _baselines({"task": name, "baselines": made})
        except DataError as error:
            notes.append(f"No linear row of {name}: {error}")
    return found, notes


def _model(name, found):
    """The row of a model, or of a teacher, which has an accuracy alone."""
    if "golden" not in found:  # a teacher, which is no model of the machine's
        return {"run": name, "task": found["task"], "float %": found["dev_accuracy"]}
    return {
        "run": name,
        "task": found["task"],
        "float %": 100 * found["float"]["accuracy"],
        "compressed %": 100 * found["compressed"]["accuracy"],
        "golden %": 100 * found["golden"]["accuracy"],
        "zeros encoder": found["encoder_sparsity"],
        "zeros embedding": found["embedding_sparsity"],
        "live tokens": found["live_token_fraction"],
        "layers run": found["mean_exit_layer"] / found["layers"],
        "FLOPs": 1 / found["flops_speedup_nnz"],
        "MB": found["bytes"] / 1e6,
    }


def _baselines(found):
    return [
        {"run": name, "task": found["task"], "float %": splits["dev"]}
        for name, splits in found["baselines"].items()
    ]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table, without columns that no row has."""
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    lines = [columns, ["---"] * len(columns)]
    lines += [[_text(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value):
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def write_table(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
    """All columns, figures in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[Any] = csv.DictWriter(file, list(COLUMNS), restval="")
        writer.writeheader()
        writer.writerows(rows)
