# SPDX-License-Identifier: Apache-2.0
"""The command bench."""

import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console

from terse.commands.options import Json, Settings, parent_made, say, write_json

__all__ = ["app"]

app = typer.Typer()


@app.command()
def bench(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Simulate only the base layer on 32 tokens, the rest is the cycle model's.",
        ),
    ] = False,
    json_file: Json = None,
    csv_file: Annotated[
        pathlib.Path | None, typer.Option("--csv", help="Write the rows to this file.")
    ] = None,
    plot: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write pictures to this folder, each for a light and a dark page."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only the cases whose name holds this text; may be given again."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="Take all cycles from the model, or from the simulated machine."),
    ] = None,
    settings: Settings = None,
    trip: Annotated[
        int, typer.Option(help="Cycles of EdgeBERT's host for each tile of results.")
    ] = 0,
    golden: Annotated[
        bool,
        typer.Option(
            "--golden",
            help="Only time the golden model: a sentence of base, SST-2's dev split on tiny.",
        ),
    ] = False,
):
    """Cycles by co-simulation or cycle model, beside their limits, EdgeBERT's and the targets.

    What is measured already is not run again.
    """
    from golden_model.config import MODELS
    from terse.benchmark import rows as benching
    from terse.benchmark import sweep, tables

    if golden:
        from terse.benchmark.timing import golden_times

        for line in golden_times():
            print(line)
        return
    from terse.benchmark.edgebert import text
    from terse.benchmark.targets import targets

    cases = sweep.select(sweep.quick_cases() if quick else sweep.full_cases(), only or ())
    cases = sweep.with_source(cases, source) if source else cases
    cases = sweep.with_settings(cases, settings) if settings else cases
    with tables.bench_progress(cases) as watch:
        result = benching.bench(cases, watch=watch, trip=trip)
    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(tables.bench_table(result, operations=len(cases) <= 3))
    print(text(MODELS["base"], 128, trip=trip))
    wanted = [one for one in targets(result) if not only or one.met is not None]
    for table in filter(
        None,
        (tables.shapes_table(result), tables.streams_table(result), tables.targets_table(wanted)),
    ):
        console.print(table)
    say(*result.notes)
    write_json(json_file, result.to_json())
    if csv_file is not None:
        benching.write_csv(parent_made(csv_file), result)
    if plot is not None:
        from terse.benchmark.plots import write_plots

        for path in write_plots(plot, result):
            print(path)
