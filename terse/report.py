# SPDX-License-Identifier: Apache-2.0
"""Reports for people: rich tables of what the functions return."""

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from golden_model.counters import MACS

__all__ = [
    "bench_progress",
    "bench_table",
    "buffers",
    "claims_table",
    "evaluation",
    "fits",
    "imported",
    "run_progress",
    "run_table",
    "shapes_table",
    "streams_table",
    "summary",
]

SHAPED = (0.6, 16, 100)  # zeros, bytes/cycle and latency of the shapes' comparison
PERIOD = 300  # seconds from which the time left is estimated: cases end seldom
SPECIAL = ("[CLS]", "[SEP]", "<pad>")
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _words(sentence):
    """The text of the tokens; a word that was dropped is dim and carries the layer that it left at."""
    text = Text()
    shown = [
        (piece, layer)
        for piece, layer in zip(sentence.tokens, sentence.dropped_at_layer, strict=True)
        if piece not in SPECIAL
    ]
    for i, (piece, layer) in enumerate(shown):
        word = piece.replace("▁", " ")
        text.append(word.lstrip() if i == 0 else word, style="dim" if layer else "bold")
        inside = (
            i + 1 < len(shown) and shown[i + 1][1] == layer and not shown[i + 1][0].startswith("▁")
        )
        if layer and not inside:
            text.append(str(layer).translate(SUBSCRIPT), style="dim cyan")
    return text


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
            "" if sentence.label is None else str(sentence.label),
            str(sentence.prediction),
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
    return f"Layers' multiplications: {done} of {total:,} done; skipped: {skipped}; {counters['TOKENS']:,} live tokens in all layers"


def summary(report):
    """The lines under the table."""
    yield f"Tensors: {', '.join(report.names)}"
    if report.counters:
        yield multiplications(report.counters)
    yield (
        f"{report.tensors_compared:,} tensors, {report.elements_compared:,} values compared; "
        f"{report.total_cycles:,} cycles{f' of {report.jobs} queues' if report.jobs > 1 else ''}, {report.cycles_per_second:,.0f} cycles/s"
    )
    good = sum(sentence.match for sentence in report.sentences)
    for failure in report.failures[:10]:
        yield f"[bold red]{failure}[/]" if "[" not in failure else Text(failure, style="bold red")
    yield f"{good} of {len(report.sentences)} sentences bit-exact"


def imported(result):
    """The lines of `terse import`."""
    model, metrics = result.checkpoint.model, result.metrics
    yield (
        f"ALBERT, {model.layers} layers, embedding {model.embedding}, hidden {model.hidden}, {model.heads} heads, feed forward "
        f"{model.feed_forward}, {model.vocabulary:,} words, {model.positions} positions, {model.classes} classes, {model.activation}"
    )
    yield (
        f"float twin: logits within {metrics['twin_difference']:.1e} of transformers' (float64), "
        f"{metrics['twin_difference_float32']:.1e} (float32)"
    )
    yield f"ranges from {metrics['calibration_rows']} sentences"
    yield f"zeros: encoder and pooler {metrics['encoder_sparsity']:.1%}, embeddings {metrics['embedding_sparsity']:.1%}"
    yield (
        f"golden model, {metrics['golden_format']}: logits within {metrics['golden_difference']:.1e} of the float twin's (largest "
        f"{metrics['largest_logit']:.1e}), class agrees on {metrics['golden_same_class']} of {metrics['golden_rows']}, "
        f"{metrics['golden_saturations']} saturations"
    )


def evaluation(result):
    """Figures of `terse eval`."""
    table = Table(
        title=f"{result['count']} sentences, {result['seconds']:.0f} s", show_header=False
    )
    for name in ("float", "compressed", "golden"):
        table.add_row(f"accuracy, {name}", f"{100 * result[name]['accuracy']:.2f} %")
    for name in ("agreement", "live_token_fraction", "encoder_sparsity", "embedding_sparsity"):
        table.add_row(name.replace("_", " "), f"{100 * result[name]:.1f} %")
    table.add_row("mean exit layer", f"{result['mean_exit_layer']:.2f} of {result['layers']}")
    table.add_row("FLOPs speed-up, dense", f"{result['flops_speedup_dense']:.2f} x")
    table.add_row("FLOPs speed-up, non-zero weights", f"{result['flops_speedup_nnz']:.2f} x")
    table.add_row("dead heads", str(result["dead_heads"]))
    return table


def fits(rows, title):
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


def buffers(rows):
    """(buffer, words, bits of a word, bytes) of `terse config`."""
    table = Table(title="buffers")
    for name in ("", "words", "bits", "bytes"):
        table.add_column(name, justify="left" if not name else "right")
    for name, *numbers in rows:
        table.add_row(name, *(f"{number:,}" for number in numbers))
    table.add_section()
    table.add_row("together", "", "", f"{sum(row[3] for row in rows):,}")
    return table


def bench_table(result, operations):
    """Rows of `terse bench`, a section for each case; without `operations` only layers, sentences and streams."""
    table = Table(
        caption="limit: the array's least cycles or the weights' bytes over the bus, whichever is more; use: live non-zero multiplications "
        "per cycle and multiplier; EdgeBERT: as many multipliers"
    )
    for name in (
        "",
        "rows",
        "cycles",
        "limit",
        "x limit",
        "bound",
        "use",
        "bytes/cycle",
        "KB",
        "EdgeBERT",
        "speed-up",
        "source",
    ):
        table.add_column(
            name,
            justify="left" if name in ("", "bound", "source") else "right",
            no_wrap=bool(name),
            max_width=None if name else 32,
        )
    for (case, _), rows in zip(result.runs, result.tables, strict=True):
        table.add_row(Text(case.label, style="bold"))
        for row in rows:
            if operations or row.scope != "operation":
                _bench_row(table, row)
        table.add_section()
    return table


def _bench_row(table, row):
    limited = row.limit_cycles > 0
    table.add_row(
        f"  {row.name}",
        f"{row.rows:g}",
        f"{row.cycles:,}",
        f"{row.limit_cycles:,.0f}" if limited else "",
        f"{row.cycles / row.limit_cycles:.3f}" if limited else "",
        row.bound if limited else "",
        f"{row.utilisation:.1%}" if limited else "",
        f"{row.bytes / row.cycles:.2f}" if row.cycles else "",
        f"{row.buffer_kb:,.0f}",
        f"{row.edgebert_cycles:,}" if row.edgebert_cycles else "",
        f"{row.speedup_vs_edgebert:.2f}" if row.speedup_vs_edgebert else "",
        row.source,
    )


def shapes_table(result):
    """The shapes of the array side by side: a row for each, cycles and bytes of a layer for each number of tokens; None with less than two."""
    layers = {
        (row.T, row.P, row.tokens): row
        for row in result.rows
        if row.scope == "layer" and (row.sparsity, row.bus_bytes, row.latency) == SHAPED
    }
    shapes = list(dict.fromkeys((t, p) for t, p, _ in layers))
    lengths = [
        tokens
        for tokens in dict.fromkeys(tokens for *_, tokens in layers)
        if all((*shape, tokens) in layers for shape in shapes)
    ]
    table = Table(title="shapes: a layer of albert-base, 60 % zeros")
    for name in (
        "T x P",
        "KB",
        *(
            text
            for tokens in lengths
            for text in (f"cycles, {tokens} tokens", f"bytes, {tokens} tokens")
        ),
    ):
        table.add_column(name, justify="right")
    for shape in shapes:
        rows = [layers[*shape, tokens] for tokens in lengths]
        table.add_row(
            "{} x {}".format(*shape),
            f"{rows[0].buffer_kb:,.0f}" if rows else "",
            *(text for row in rows for text in (f"{row.cycles:,}", f"{row.bytes:,}")),
        )
    return table if len(shapes) > 1 else None


def streams_table(result):
    """What 8 slots cost and bring: a row for each stream; None without one."""
    table = Table(
        title="streams",
        caption="cycles, weight bytes: of a sentence; live: of the array's token lanes, until the queue is empty, "
        "and in weight operations; latency: cycles from admission to result; x EdgeBERT: times "
        "as fast as all tokens through all layers there",
    )
    table.add_column("")
    for name in (
        "cycles",
        "weight bytes",
        "live",
        "weights",
        "latency",
        "largest",
        "in time",
        "x EdgeBERT",
        "tokens by layer",
    ):
        table.add_column(name, justify="right")
    rows = [
        (case, row)
        for (case, _), rows in zip(result.runs, result.tables, strict=True)
        for row in rows
        if row.scope == "stream"
    ]
    for case, row in rows:
        table.add_row(
            case.label,
            f"{row.cycles / case.sentences:,.0f}",
            f"{row.weight_bytes / case.sentences:,.0f}",
            f"{row.live_lanes_array or 0:.1%}",
            f"{row.live_lanes or 0:.1%}",
            f"{row.latency_mean:,}",
            f"{row.latency_max:,}",
            "" if row.deadlines_met is None else f"{row.deadlines_met:.1%}",
            f"{row.product_vs_edgebert or 0:.2f}",
            " ".join(f"{count:g}" for count in row.live_tokens or ()),
        )
    return table if rows else None


def claims_table(claims):
    """What the issue asks, and whether it is so; None where nothing of it was measured."""
    table = Table(title="what issue 3 asks")
    for name in ("line", "", "found", "wanted", "verdict"):
        table.add_column(name, justify="right" if name else "left")
    marks = {
        True: Text("met", style="green"),
        False: Text("FALLS SHORT", style="bold red"),
        None: Text("not measured", style="yellow"),
    }
    for claim in claims:
        found = "" if claim.figure is None else f"{claim.figure:.3f}"
        table.add_row(
            str(claim.line or ""),
            claim.what,
            found,
            f"{'<=' if claim.most else '>='} {claim.wanted:g}",
            marks[claim.met],
        )
    return table if claims else None


@contextlib.contextmanager
def run_progress():
    """A bar on standard error in layers of sentences, with cycles a second and the time left; gives the `watch` of `terse.run.run`."""
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


@contextlib.contextmanager
def bench_progress(cases):
    """A bar on standard error, in estimated seconds; gives the `watch` of `terse.benchmark.rows.bench`."""
    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        expand=True,
        speed_estimate_period=PERIOD,
    ) as progress:
        task = progress.add_task("", total=sum(case.seconds for case in cases), speed="")
        state = {"done": 0.0, "case": None, "begin": 0.0}

        def watch(case, cycles):
            if cycles is None:
                state["done"] += case.seconds
                progress.update(task, description=case.label, completed=state["done"])
                return
            if case != state["case"]:
                state.update(case=case, begin=time.perf_counter(), first=cycles)
            seconds = time.perf_counter() - state["begin"]
            speed = f"{(cycles - state['first']) / seconds:,.0f} cycles/s" if seconds > 1 else ""
            progress.update(
                task,
                description=case.label,
                speed=speed,
                completed=state["done"]
                + case.seconds * min(1, (cycles - state["first"]) / case.estimate),
            )

        yield watch
