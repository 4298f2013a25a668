# SPDX-License-Identifier: Apache-2.0
"""Commands for boards: build, flash, board run."""

import pathlib
import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console

from terse.commands.options import (
    Count,
    Json,
    Model,
    Pair,
    Settings,
    Texts,
    Truncate,
    parent_made,
    say,
    step_progress,
    write_json,
)
from terse.errors import UserError

__all__ = ["app"]

app = typer.Typer()
board_app = typer.Typer(help="Use a board at a serial port.", no_args_is_help=True)
app.add_typer(board_app, name="board")

Board = Annotated[str, typer.Option(help="Name of a board: a file of hw/board/kinds/.")]
BoardHw = Annotated[
    str | None,
    typer.Option("--hw", help="Hardware configuration; by default the one made for the board."),
]


@app.command()
def build(
    out: Annotated[
        pathlib.Path,
        typer.Option("--out", "-o", help="Bitstream to write; for a vendor's tool a folder."),
    ],
    board: Board = "ulx3s",
    hw: BoardHw = None,
    settings: Settings = None,
    clock: Annotated[
        float | None, typer.Option(help="MHz of the machine; by default what the board can.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Runs of place and route, at most; the first that is fast enough.")
    ] = 5,
    json_file: Json = None,
):
    """Make the bitstream of a board, with open tools alone; or what its vendor's tool takes.

    What is done already is not run again, after Ctrl-C neither.
    """
    from sim.synthesis.vendor import Sources
    from terse import report
    from terse.board import build_board

    with step_progress() as watch:
        found = build_board(board, hw, settings or (), clock, seeds, watch)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    if isinstance(found, Sources):
        for line in report.sources_lines(found):
            console.print(line)
        write_json(json_file, found.to_json())
        for name, text in found.files.items():
            parent_made(out / name).write_text(text)
            print(f"{out / name}: {len(text):,} bytes")
        return
    console.print(report.block_table(found.blocks))
    for line in report.bitstream_lines(found):
        console.print(line)
    write_json(json_file, found.to_json())
    if found.path is None:
        raise typer.Exit(1)
    parent_made(out).write_bytes(found.path.read_bytes())
    print(f"{out}: {out.stat().st_size:,} bytes")


@app.command()
def flash(
    out: Annotated[
        pathlib.Path, typer.Option("--out", "-o", help="Folder for the model's files.")
    ] = pathlib.Path("build/flash"),
    board: Board = "ulx3s",
    model: Model = "tiny",
    hw: BoardHw = None,
    settings: Settings = None,
    bitstream: Annotated[
        pathlib.Path | None, typer.Option(help="A file of `terse build`, to be written too.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Run openFPGALoader instead of printing its commands.")
    ] = False,
):
    """Print, or run, what writes bitstream and model into a board's flash."""
    from terse.board import flash_commands, write_flash, write_parts

    if bitstream is not None and not bitstream.is_file():
        raise UserError(f"No bitstream {bitstream}; `terse build` makes one")
    parts, notes = write_parts(out, board, model, hw, settings or ())
    say(*notes)
    commands = flash_commands(board, bitstream, parts)
    if write:
        write_flash(commands)
    else:
        for command in commands:
            print(shlex.join(command))


@board_app.command("run")
def board_run(
    texts: Texts = None,
    port: Annotated[str, typer.Option(help="Serial port of the board.")] = "/dev/ttyUSB0",
    board: Board = "ulx3s",
    model: Model = "tiny",
    hw: BoardHw = None,
    settings: Settings = None,
    pair: Pair = False,
    sentences: Count = None,
    truncate: Truncate = False,
    upload: Annotated[
        bool,
        typer.Option("--upload", help="Send the image, in place of the one from the flash."),
    ] = False,
    json_file: Json = None,
):
    """Take sentences through the board and compare its records with the golden model's."""
    from terse import report
    from terse.board import run_on_board, serial_port

    with serial_port(port) as line:
        result = run_on_board(
            line, board, texts or (), model, pair, sentences, truncate, hw, settings or (), upload
        )
    say(*result.notes)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(report.run_table(result))
    for line in report.board_summary(result):
        console.print(line)
    write_json(json_file, result.to_json())
    raise typer.Exit(0 if result.bit_exact else 1)


@board_app.command("latency")
def board_latency(
    board: Board = "ulx3s",
    model: Model = "tiny",
    hw: BoardHw = None,
    settings: Settings = None,
    sentences: Count = None,
    clock: Annotated[
        float | None, typer.Option(help="MHz of the machine; by default what the board can.")
    ] = None,
    json_file: Json = None,
):
    """Co-simulate the sample sentences with memories that answer as the board's do."""
    from terse.board import board_kind, simulate_latency

    found = simulate_latency(board, model, sentences, hw, settings or ())
    megahertz = clock or board_kind(board).clock / 1e6
    for slots, cycles in found.items():
        mean = sum(cycles) / len(cycles)
        print(
            f"{slots} resident: mean of {len(cycles)} sentences {mean:,.0f} cycles, "
            f"{mean / megahertz / 1e3:.2f} ms at {megahertz:g} MHz; "
            f"longest {max(cycles) / megahertz / 1e3:.2f} ms"
        )
    write_json(json_file, found)
