# SPDX-License-Identifier: Apache-2.0
"""The command timing."""

import pathlib
from typing import Annotated

import typer
from rich.console import Console

from terse.commands.options import Hw, Json, Settings, step_progress, write_json

__all__ = ["app"]

app = typer.Typer()


@app.command()
def timing(
    hw: Hw = "ecp5",
    settings: Settings = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            help="A block alone, such as array or store; again for several, `all` for all. "
            "Without: the accelerator."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="LFE5U-: 25k, 45k or 85k.")] = "85k",
    seeds: Annotated[int, typer.Option(help="Runs of place and route; the best one counts.")] = 1,
    json_file: Json = None,
    baseline: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A file of --json: fail where a block has lost more than 5 % of its clock."
        ),
    ] = None,
):
    """Clock after place and route on an ECP5, by Yosys and nextpnr.

    What is done already is not run again.
    """
    from terse import catalog, report
    from terse.timing import against, chosen_blocks, time_blocks

    config = catalog.hardware(hw, settings or ())
    names = chosen_blocks(block or (), device, seeds)
    with step_progress() as watch:
        found = time_blocks(config, hw, names, device, seeds, watch)
    Console().print(report.timing_table(found))
    write_json(json_file, {one.block: one.to_json() for one in found})
    slower = against(found, baseline) if baseline else []
    for line in slower:
        print(line)
    raise typer.Exit(1 if slower else 0)
