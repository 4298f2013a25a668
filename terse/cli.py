# SPDX-License-Identifier: Apache-2.0
"""The command line: every command is a call of a function of this package.

Exit status 2 says bad input, in one line on standard error; 1 says that something differs.
"""

import io
import json
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console
from typer.exceptions import TyperException

from compress.data_folder import VARIABLE, data_folder
from terse.errors import UserError, explain, visible

__all__ = ["app", "main"]

BAD_INPUT = 2  # exit statuses
INTERRUPTED = 130

app = typer.Typer(
    help="ALBERT that drops tokens and exits early, on hardware that you can simulate bit for bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
image_app = typer.Typer(help="Look into images.", no_args_is_help=True)
app.add_typer(image_app, name="image")

Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TEXT]...", help="Sentences; without any, the samples that travel with the model."
    ),
]
Model = Annotated[
    str, typer.Option(help="Name of a model in examples/, or the folder of a checkpoint.")
]
Hw = Annotated[str, typer.Option("--hw", help="Hardware configuration: ci, ecp5 or edgebert.")]
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
Output = Annotated[pathlib.Path, typer.Option("--out", "-o", help="File to write.")]
Data = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--data",
        envvar=VARIABLE,
        help="Folder with TASK/SPLIT.tsv or .tsv.xz; by default data/ (docs/data.md).",
    ),
]


def _write_json(path, value):
    if path is not None:
        _parent(path).write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def _parent(path):
    """The path of a file to write, in a folder that is there."""
    if path.is_dir() or not path.name:
        raise UserError(f"{path} must be a file, not a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _say(*lines):
    for line in lines:
        print(visible(line), file=sys.stderr)


def _format(text):
    from terse.catalog import number_format

    return None if text is None else number_format(text)


@app.command()
def run(
    texts: Texts = None,
    model: Model = "tiny",
    hw: Hw = "ci",
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
            _format(number_format),
        )
    _say(*result.notes)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(report.run_table(result))
    for line in report.summary(result):
        console.print(line)
    _write_json(json_file, result.to_json())
    raise typer.Exit(0 if result.bit_exact else 1)


@app.command()
def golden(
    out: Output,
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
        texts or (), model, pair, sentences, truncate, _format(number_format)
    )
    _say(*notes)
    with open(_parent(out), "wb") as file:
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
    json_file: Json = None,
    number_format: Format = None,
):
    """Accuracy and cost of three models: uncompressed float, compressed float, golden integer."""
    from terse import report
    from terse.evaluate import evaluate as evaluate_models

    result = evaluate_models(model, task, split, data or data_folder(), _format(number_format))
    Console().print(report.evaluation(result))
    _write_json(json_file, result)


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
    _say(*result.notes)
    _write_json(json_file, result.to_json())
    if csv_file is not None:
        benching.write_csv(_parent(csv_file), result)
    if plot is not None:
        from terse.benchmark.plots import write_plots

        for path in write_plots(plot, result):
            print(path)


@app.command()
def verilog(
    out: Output,
    hw: Hw = "ci",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter, as T=8.")
    ] = None,
):
    """Write the accelerator as one self-contained Verilog-2001 file."""
    from terse.artefacts import verilog_text

    text = verilog_text(hw, settings or ())
    _parent(out).write_text(text)
    print(f"{out}: {text.count(chr(10)):,} lines")


@app.command()
def config(
    hw: Hw = "ci",
    model: Model = "tiny",
    settings: Annotated[list[str] | None, typer.Option("--set")] = None,
):
    """Show buffer sizes, what of a model fits, what does not, and why."""
    from terse import report
    from terse.artefacts import buffers, fits

    console = Console()
    rows, problems, notes = fits(hw, model, settings or ())
    _say(*notes)
    console.print(report.fit_table(rows, f"{model} on {hw}"))
    console.print(report.buffer_table(buffers(hw, settings or ())))
    for line in problems:
        print(line)
    print("does not fit" if problems or not all(good is not False for *_, good in rows) else "fits")


@app.command()
def train(
    task: Annotated[str, typer.Option()],
    out: Annotated[pathlib.Path, typer.Option(help="Folder for the checkpoint.")],
    data: Data = None,
):
    """Train and compress a model."""
    from compress.train import train as train_model

    metrics = train_model(task, data or data_folder(), out)
    Console().print(metrics)


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
    from compress.import_hf import import_albert
    from terse import report

    imported = import_albert(
        folder,
        out,
        sentences=sentences,
        vocab=vocab,
        positions=positions,
        zeros=prune,
        fmt=_format(number_format),
        command=" ".join(["terse", *sys.argv[1:]]),
    )
    _say(*imported.notes)
    for line in report.imported(imported):
        print(line)
    print(f"{out}: written")


@app.command("compile")
def compile_model(out: Output, model: Model = "tiny", hw: Hw = "ci", number_format: Format = None):
    """Write the image of a model for some hardware, and beside it the embedding image (.emb)."""
    from terse.artefacts import compile_images

    _parent(out)
    image, embedding, notes = compile_images(model, hw, _format(number_format))
    _say(*notes)
    beside = out.with_name(out.name + ".emb")
    out.write_bytes(image)
    beside.write_bytes(embedding)
    print(f"{out}: {len(image):,} bytes\n{beside}: {len(embedding):,} bytes")


@image_app.command("show")
def image_show(file: pathlib.Path):
    """Print what is in an image or an embedding image."""
    from terse.artefacts import show_image

    print(show_image(file))


def main():
    """Entry point of the console script `terse`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter
    try:
        status = app(standalone_mode=False)
    except typer.Abort:
        _say("terse: interrupted")
        status = INTERRUPTED
    except TyperException as error:
        status = _usage(error)
    except Exception as error:
        text = explain(error)
        if text is None:  # a bug of ours: its traceback says more
            raise
        _say(f"terse: {text}")
        status = BAD_INPUT
    sys.exit(status or 0)


def _usage(error):
    """Say what is wrong with the arguments; the exit status."""
    text = getattr(error, "format_message", lambda: "")()
    if text:
        hint = ""
        if type(error).__name__ == "NoSuchOption":
            hint = "; a text that begins with '-' goes behind '--'"
        _say(f"terse: {text}{hint}")
    return getattr(error, "exit_code", BAD_INPUT)


if __name__ == "__main__":
    main()
