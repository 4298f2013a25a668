# SPDX-License-Identifier: Apache-2.0
"""Commands about folders of Hugging Face: import, export."""

import pathlib
import sys
from typing import Annotated

import typer

from terse.commands.options import Model, format_of, say

__all__ = ["app"]

app = typer.Typer()


@app.command("import")
def import_model(
    folder: Annotated[
        pathlib.Path,
        typer.Argument(metavar="DIR", help="config.json, model.safetensors, maybe tokenizer.json."),
    ],
    out: Annotated[
        pathlib.Path, typer.Option("--out", "-o", help="Folder for the checkpoint, new or empty.")
    ],
    sentences: Annotated[
        pathlib.Path | None,
        typer.Option(help="Text for calibration, a line each; a tab in a pair."),
    ] = None,
    vocab: Annotated[
        pathlib.Path | None, typer.Option(help="ALBERT's vocabulary, where DIR brings none.")
    ] = None,
    positions: Annotated[
        int | None, typer.Option(help="Longest sentence, 4 to 512; by default 128.")
    ] = None,
    prune: Annotated[float, typer.Option(help="Share of weights to set to zero.")] = 0.0,
    number_format: Annotated[
        str | None, typer.Option("--format", help="Round weights: int8, or bits,exponent as af8,3.")
    ] = None,
):
    """Make a checkpoint of a Hugging Face ALBERT classifier."""
    from compress.huggingface.importing import import_albert
    from terse import report

    imported = import_albert(
        folder,
        out,
        sentences=sentences,
        vocab=vocab,
        positions=positions,
        zeros=prune,
        fmt=format_of(number_format),
        command=" ".join(["terse", *sys.argv[1:]]),
    )
    say(*imported.notes)
    for line in report.imported(imported):
        print(line)
    print(f"{out}: written")


@app.command("export")
def export_model(
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="Folder, not there yet.")],
    model: Model = "tiny",
    dense: Annotated[
        bool, typer.Option("--dense", help="The uncompressed model of the checkpoint.")
    ] = False,
):
    """Write a Hugging Face folder of a model that is a plain ALBERT."""
    from compress.huggingface.exporting import export_albert
    from terse import catalog

    checkpoint = catalog.checkpoint(model)
    path = catalog.model_folder(model) / "tokenizer.json"
    export_albert(
        checkpoint.dense() if dense else checkpoint, path if path.is_file() else None, out
    )
    print(f"{out}: written")
