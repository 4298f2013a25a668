# SPDX-License-Identifier: Apache-2.0
"""Reports for people: rich tables of what the functions return."""

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from golden_model.counters import MACS
from terse.errors import visible

__all__ = [
    "bitstream_lines",
    "block_table",
    "board_summary",
    "buffer_table",
    "evaluation",
    "fit_table",
    "imported",
    "run_progress",
    "run_table",
    "sources_lines",
    "summary",
    "timing_table",
]

SPECIAL = ("[CLS]", "[SEP]", "<pad>", "[PAD]")
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _words(sentence):
    """The text of the tokens; a word that was dropped is dim and carries its last layer."""
    text = Text()
    shown = [
        (piece, layer)
        for piece, layer in zip(_spaced(sentence.tokens), sentence.dropped_at_layer, strict=True)
        if piece.strip() not in SPECIAL
    ]
    for i, (piece, layer) in enumerate(shown):
        word = visible(piece)
        text.append(word.lstrip() if i == 0 else word, style="dim" if layer else "bold")
        inside = (
            i + 1 < len(shown) and shown[i + 1][1] == layer and not shown[i + 1][0].startswith(" ")
        )
        if layer and not inside:
            text.append(str(layer).translate(SUBSCRIPT), style="dim cyan")
    return text


def _spaced(pieces):
    """The pieces, a word's first one with a space: ALBERT marks it, BERT marks those behind it."""
    if any(piece.startswith("▁") for piece in pieces):
        return [piece.replace("▁", " ") for piece in pieces]
    return [piece[2:] if piece.startswith("##") else f" {piece}" for piece in pieces]


def _class(number, name):
    """A class as text: its number, and its name where it has another one."""
    if number is None:
        return ""
    return str(number) if name in (None, str(number)) else f"{number} {name}"


def run_table(report):
    """One row a sentence."""
    table = Table(
        title=f"{report.model} on {report.hw}",
        caption="dim, with a number: dropped, and the layer at which",
    )
    table.add_column("sentence", ratio=1)
    for name in ("label", "prediction", "confidence", "exit", "cycles"):
        table.add_column(name, justify="right")
    table.add_column("match", justify="center")
    for sentence in report.sentences:
        match = Text("yes", style="green") if sentence.match else Text("NO", style="bold red")
        if sentence.cycles is None:
            match = Text(
                "not run" if report.failures and not sentence.match else "-", style="yellow"
            )
        table.add_row(
            _words(sentence),
            _class(sentence.label, sentence.label_name),
            _class(sentence.prediction, sentence.prediction_name),
            f"{sentence.confidence:.3f}",
            str(sentence.exit_layer),
            "" if sentence.cycles is None else f"{sentence.cycles:,}",
            match,
        )
    return table


def multiplications(counters):
    """What became of the dense layers' multiplications, by the hardware's counters."""
    total, causes = (
        sum(counters[name] for name in MACS),
        ("zero weights", "dead heads", "dropped tokens", "exited layers"),
    )
    done, *shares = (f"{counters[name] / total:.1%}" for name in MACS)
    skipped = ", ".join(f"{share} {cause}" for share, cause in zip(shares, causes, strict=True))
    return (
        f"Layers' multiplications: {done} of {total:,} done; skipped: {skipped}; "
        f"{counters['TOKENS']:,} live tokens in all layers"
    )


def summary(report):
    """The lines under the table."""
    yield f"Tensors: {', '.join(report.names)}"
    yield from summary_of_counters(report)
    queues = f" of {report.jobs} queues" if report.jobs > 1 else ""
    yield (
        f"{report.tensors_compared:,} tensors, {report.elements_compared:,} values compared; "
        f"{report.total_cycles:,} cycles{queues}, {report.cycles_per_second:,.0f} cycles/s"
    )
    yield from judgement(report)


def summary_of_counters(report):
    """What the hardware counted, if it counts."""
    if report.counters and any(report.counters.values()):
        yield multiplications(report.counters)


def judgement(report):
    """The first differences, and how many sentences have none."""
    good = sum(sentence.match for sentence in report.sentences)
    for failure in report.failures[:10]:
        yield f"[bold red]{failure}[/]" if "[" not in failure else Text(failure, style="bold red")
    yield f"{good} of {len(report.sentences)} sentences bit-exact"


def imported(result):
    """The lines of `terse import`."""
    model, metrics = result.checkpoint.model, result.metrics
    yield (
        f"ALBERT, {model.layers} layers, embedding {model.embedding}, hidden {model.hidden}, "
        f"{model.heads} heads, feed forward {model.feed_forward}, {model.vocabulary:,} words, "
        f"{model.positions} positions, {model.classes} classes, {model.activation}"
    )
    yield (
        f"float twin: logits within {metrics['twin_difference']:.1e} of transformers' (float64), "
        f"{metrics['twin_difference_float32']:.1e} (float32)"
    )
    yield f"ranges from {metrics['calibration_rows']} sentences"
    yield (
        f"zeros: encoder and pooler {metrics['encoder_sparsity']:.1%}, "
        f"embeddings {metrics['embedding_sparsity']:.1%}"
    )
    yield (
        f"golden model, {metrics['golden_format']}: logits within "
        f"{metrics['golden_difference']:.1e} of the float twin's (largest "
        f"{metrics['largest_logit']:.1e}), class agrees on {metrics['golden_same_class']} of "
        f"{metrics['golden_rows']}, {metrics['golden_saturations']} saturations"
    )


def evaluation(result):
    """Figures of `terse eval`."""
    table = Table(
        title=f"{result['count']} sentences, {result['seconds']:.0f} s", show_header=False
    )
    names = result["labels"] or ()
    if names:
        table.add_row("classes", ", ".join(_class(i, name) for i, name in enumerate(names)))
    table.add_row(
        f"cut to the model's {result['positions']} tokens",
        f"{result['truncated']} of {result['count']}",
    )
    table.add_row("number format", result["format"])
    for name in ("float", "compressed", "golden"):
        table.add_row(f"accuracy, {name}", f"{100 * result[name]['accuracy']:.2f} %")
    lost, interval = (100 * result["lost"][name] for name in ("accuracy", "interval"))
    table.add_row("lost, float to golden (paired)", f"{lost:.2f} ± {interval:.2f} points")
    for name in ("agreement", "live_token_fraction", "encoder_sparsity", "embedding_sparsity"):
        table.add_row(name.replace("_", " "), f"{100 * result[name]:.1f} %")
    table.add_row("mean exit layer", f"{result['mean_exit_layer']:.2f} of {result['layers']}")
    table.add_row("FLOPs speed-up, dense", f"{result['flops_speedup_dense']:.2f} x")
    table.add_row("FLOPs speed-up, non-zero weights", f"{result['flops_speedup_nnz']:.2f} x")
    table.add_row("dead heads", str(result["dead_heads"]))
    return table


def fit_table(rows, title):
    """(item, needs, has, fits) of `terse config`."""
    table = Table(title=title)
    for name in ("", "model", "hardware", ""):
        table.add_column(name, justify="left" if not name else "right")
    for item, needs, has, good in rows:
        mark = (
            Text("")
            if good is None
            else Text("fits", style="green")
            if good
            else Text("too small", style="bold red")
        )
        table.add_row(item, needs, has, mark)
    return table


def buffer_table(rows):
    """(buffer, words, bits of a word, bytes) of `terse config`."""
    table = Table(title="buffers")
    for name in ("", "words", "bits", "bytes"):
        table.add_column(name, justify="left" if not name else "right")
    for name, *numbers in rows:
        table.add_row(name, *(f"{number:,}" for number in numbers))
    table.add_section()
    table.add_row("together", "", "", f"{sum(row[3] for row in rows):,}")
    return table


CELLS = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")
AREA = ("logic", "LUT4", "CCU2C", "MULT18X18D", "block RAM", "TRELLIS_FF")
SMALL = 100  # cells of logic; a block with less is part of the one around it
BOARD_DEPTH = 5  # levels of blocks below a board's top that a table tells


def timing_table(found):
    """`Timing` of blocks: clocks, cells, worst path."""
    table = Table(title="after place and route")
    for name in ("", "MHz, best", "median", "seeds", *CELLS):
        table.add_column(name, justify="left" if not name else "right")
    table.add_column("worst path of the best, by block")
    for one in found:
        best = one.best
        cells = (f"{one.used.get(kind, (0, 0))[0]:,}" for kind in CELLS)
        path = f"{' > '.join(best.path)}: {best.delay:.1f} ns, {best.logic:.1f} of it logic"
        clocks = (f"{best.clock:.1f}", f"{one.median:.1f}", str(len(one.routes)))
        table.add_row(one.block, *clocks, *cells, path)
    return table


def block_table(blocks):
    """Cells of each block of a board, the blocks in it included."""
    table = Table(title="after synthesis")
    table.add_column("")
    for name in AREA:
        table.add_column(name, justify="right")
    for name in sorted(blocks):
        if name.count(".") <= BOARD_DEPTH and blocks[name]["logic"] >= SMALL:
            table.add_row(name, *(f"{blocks[name][column]:,}" for column in AREA))
    return table


def bitstream_lines(found):
    """The lines under the table: cells of the chip, and the clocks."""
    cells = (f"{used:,} of {there:,} {kind}" for kind, (used, there) in found.used.items() if used)
    yield f"Routed: {', '.join(cells)}"
    for name, (reached, wanted) in found.clocks.items():
        yield f"{name}: {reached:.1f} MHz, must be {wanted:.1f}"
    path = " > ".join(found.route.path)
    yield f"Worst path (seed {found.route.seed}): {path}: {found.route.delay:.1f} ns"
    if found.path is None:
        yield "No seed is fast enough: more --seeds, or a lower --clock"


def sources_lines(found):
    """What a board's machine takes of its chip, by Yosys' counts."""
    cells = (f"{used:,} of {there:,} {kind}" for kind, (used, there) in found.cells.items())
    yield f"Yosys' synth_xilinx, no run of the vendor's tool: {', '.join(cells)}"
    yield f"{found.clock / 1e6:g} MHz are asked of the vendor's tool"


def board_summary(report):
    """The lines under the table of a board's sentences."""
    yield from summary_of_counters(report)
    yield f"{report.total_cycles:,} cycles, from the start of each sentence to its end"
    yield from judgement(report)


@contextlib.contextmanager
def run_progress():
    """A bar on standard error in layers of sentences, with cycles a second and the time left.

    Gives the `watch` of `terse.run.run_texts`.
    """
    columns = (
        BarColumn(bar_width=40),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task, begin = progress.add_task("", total=None, speed="building"), []

        def watch(done, total, cycle):
            begin[:] = begin or [time.perf_counter(), cycle]
            seconds = time.perf_counter() - begin[0]
            speed = f"{(cycle - begin[1]) / seconds:,.0f} cycles/s" if seconds > 1 else ""
            progress.update(task, total=total, completed=done, speed=speed)

        yield watch
