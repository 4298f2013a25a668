# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, and what every command does with files and lines."""

import contextlib
import json
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from compress.data.data_folder import VARIABLE
from terse.errors import UserError, visible

__all__ = [
    "Count",
    "Data",
    "Format",
    "Hw",
    "Json",
    "Model",
    "OutFile",
    "Pair",
    "Settings",
    "Texts",
    "Truncate",
    "format_of",
    "parent_made",
    "say",
    "step_progress",
    "write_json",
]

Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TEXT]...", help="Sentences; without any, the samples that travel with the model."
    ),
]
Model = Annotated[
    str, typer.Option(help="Name of a model in examples/, or the folder of a checkpoint.")
]
Hw = Annotated[
    str, typer.Option("--hw", help="Hardware configuration: ci, ecp5, edgebert, or a .toml file.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Change a parameter of the hardware, as T=8.")
]
Pair = Annotated[
    bool, typer.Option("--pair", help="Take texts two by two, the second with segment 1.")
]
Count = Annotated[int | None, typer.Option("--sentences", help="Only the first N.")]
Json = Annotated[
    pathlib.Path | None, typer.Option("--json", help="Write the figures to this file.")
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are too long instead of refusing them.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Number format: int8, or bits,exponent as 8,3. By default the model's own.",
    ),
]
OutFile = Annotated[pathlib.Path, typer.Option("--out", "-o", help="File to write.")]
Data = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--data",
        envvar=VARIABLE,
        help="Folder with TASK/SPLIT.tsv or .tsv.xz; by default data/ (docs/data.md).",
    ),
]


def write_json(path, value):
    """Write a value as JSON, unless there is no path."""
    if path is not None:
        parent_made(path).write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def parent_made(path):
    """The path of a file to write, in a folder that is there."""
    if path.is_dir() or not path.name:
        raise UserError(f"{path} must be a file, not a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def say(*lines):
    """Lines for the user on standard error."""
    for line in lines:
        print(visible(line), file=sys.stderr)


@contextlib.contextmanager
def step_progress():
    """What is done, and for how long already, on standard error; gives the function to tell it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        yield lambda step: progress.update(task, description=step)


def format_of(text):
    """The NumberFormat of --format, None without."""
    from terse.catalog import number_format

    return None if text is None else number_format(text)
