# SPDX-License-Identifier: Apache-2.0
"""Commands about hardware and images: verilog, config, compile, image show."""

import pathlib
from typing import Annotated

import typer
from rich.console import Console

from terse.commands.options import Format, Hw, Model, OutFile, Settings, format_of, parent_made, say
from terse.errors import UserError

__all__ = ["app"]

app = typer.Typer()
image_app = typer.Typer(help="Look into images.", no_args_is_help=True)
app.add_typer(image_app, name="image")


@app.command()
def verilog(
    out: OutFile,
    hw: Hw = "ci",
    settings: Settings = None,
):
    """Write the accelerator as one self-contained Verilog-2001 file."""
    from terse.artefacts import verilog_text

    text = verilog_text(hw, settings or ())
    parent_made(out).write_text(text)
    print(f"{out}: {text.count(chr(10)):,} lines")


@app.command()
def driver(
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="Folder to write to.")],
):
    """Write the C driver with its header of registers, and the SVD file."""
    from firmware.generate import driver_files

    files = driver_files()
    if clash := [name for name in files if (out / name).exists()]:
        raise UserError(f"{out} has {', '.join(clash)} already; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text)
        print(out / name)


@app.command()
def config(
    hw: Hw = "ci",
    model: Model = "tiny",
    settings: Settings = None,
):
    """Show buffer sizes, what of a model fits, what does not, and why."""
    from terse import report
    from terse.artefacts import buffers, fits

    console = Console()
    rows, problems, notes = fits(hw, model, settings or ())
    say(*notes)
    console.print(report.fit_table(rows, f"{model} on {hw}"))
    console.print(report.buffer_table(buffers(hw, settings or ())))
    for line in problems:
        print(line)
    print("does not fit" if problems or not all(good is not False for *_, good in rows) else "fits")


@app.command("compile")
def compile_model(
    out: OutFile,
    model: Model = "tiny",
    hw: Hw = "ci",
    settings: Settings = None,
    number_format: Format = None,
):
    """Write the image of a model for some hardware, and beside it the embedding image (.emb)."""
    from terse.artefacts import compile_images

    parent_made(out)
    image, embedding, notes = compile_images(model, hw, format_of(number_format), settings or ())
    say(*notes)
    beside = out.with_name(out.name + ".emb")
    out.write_bytes(image)
    beside.write_bytes(embedding)
    print(f"{out}: {len(image):,} bytes\n{beside}: {len(embedding):,} bytes")


@image_app.command("show")
def image_show(file: pathlib.Path):
    """Print what is in an image or an embedding image."""
    from terse.artefacts import show_image

    print(show_image(file))
