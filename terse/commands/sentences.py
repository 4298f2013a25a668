# SPDX-License-Identifier: Apache-2.0
"""Commands that take sentences through models: run, golden, compare, eval."""

import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console

from compress.data.data_folder import data_folder
from terse.commands.options import (
    Count,
    Data,
    Format,
    Hw,
    Json,
    Model,
    OutFile,
    Pair,
    Settings,
    Texts,
    Truncate,
    format_of,
    parent_made,
    say,
    write_json,
)
from terse.errors import visible

__all__ = ["app"]

app = typer.Typer()


@app.command()
def run(
    texts: Texts = None,
    model: Model = "tiny",
    hw: Hw = "ci",
    settings: Settings = None,
    pair: Pair = False,
    sentences: Count = None,
    slots: Annotated[
        int | None, typer.Option(help="Sentences resident at once, at most the hardware's.")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Processes, each with a queue of its own: cycles are not those of one queue."
        ),
    ] = 1,
    json_file: Json = None,
    truncate: Truncate = False,
    trace: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write the waveform (.vcd.gz) of a single sentence to this folder."),
    ] = None,
    number_format: Format = None,
):
    """Take sentences through golden model and RTL and compare every tensor."""
    from terse import report
    from terse.run import run_texts

    with report.run_progress() as watch:
        result = run_texts(
            texts or (),
            model,
            hw,
            pair,
            sentences,
            slots,
            trace,
            truncate,
            watch,
            jobs,
            format_of(number_format),
            settings or (),
        )
    say(*result.notes)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(report.run_table(result))
    for line in report.summary(result):
        console.print(line)
    write_json(json_file, result.to_json())
    raise typer.Exit(0 if result.bit_exact else 1)


@app.command()
def golden(
    out: OutFile,
    texts: Texts = None,
    model: Model = "tiny",
    pair: Pair = False,
    sentences: Count = None,
    truncate: Truncate = False,
    number_format: Format = None,
):
    """Write every named tensor of the golden model, with its format, as .npz."""
    import numpy

    from terse.run import golden_tensors

    arrays, notes = golden_tensors(
        texts or (), model, pair, sentences, truncate, format_of(number_format)
    )
    say(*notes)
    with open(parent_made(out), "wb") as file:
        numpy.savez_compressed(file, **arrays)
    print(f"{out}: {sum('/' in name and not name.endswith('.format') for name in arrays)} arrays")


@app.command()
def compare(
    first: Annotated[pathlib.Path, typer.Argument(metavar="A")],
    second: Annotated[pathlib.Path, typer.Argument(metavar="B")],
):
    """Compare two files of `terse golden`; the first difference of each tensor is shown."""
    from terse.npz import compare as compare_files

    differences, count = compare_files(first, second)
    for line in differences[:20]:
        print(visible(line))
    if differences:
        print(f"{len(differences)} of {count} arrays differ")
        raise typer.Exit(1)
    print(f"{count} arrays are equal")


@app.command("eval")
def evaluate(
    data: Data = None,
    model: Model = "tiny",
    task: Annotated[str, typer.Option()] = "sst2",
    split: Annotated[str, typer.Option()] = "dev",
    against: Annotated[
        str, typer.Option(help="The model whose uncompressed weights are compared with.")
    ] = "",
    json_file: Json = None,
    number_format: Format = None,
):
    """Accuracy and cost of three models: uncompressed float, compressed float, golden integer."""
    from terse import report
    from terse.evaluate import evaluate as evaluate_models
    from terse.evaluate import measure_dense

    rows = (task, split, data or data_folder())
    dense = measure_dense(against, *rows) if against else None
    result = evaluate_models(model, *rows, format_of(number_format), dense)
    Console().print(report.evaluation(result))
    write_json(json_file, result)
