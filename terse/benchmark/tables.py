# SPDX-License-Identifier: Apache-2.0
"""Tables of `terse bench` for people, and the bar that it shows while it measures."""

import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

__all__ = ["bench_progress", "bench_table", "shapes_table", "streams_table", "targets_table"]

SHAPED = (0.6, 16, 100)  # zeros, bytes/cycle and latency of the shapes' comparison
PERIOD = 300  # seconds from which the time left is estimated: cases end seldom


def bench_table(result, operations):
    """Rows of `terse bench`, a section for each case.

    operations : whether to show them; else only layers, sentences and streams
    """
    table = Table(
        caption="limit: the array's least cycles or the weights' bytes over the bus, whichever is "
        "more; use: live non-zero multiplications per cycle and multiplier; EdgeBERT: as many "
        "multipliers"
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
    """Add `row` as a line of figures; those without a limit or an EdgeBERT figure stay empty."""
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
    """The shapes of the array side by side; None with less than two.

    A row for each shape: cycles and bytes of a layer for each number of tokens.
    """
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
        caption="cycles, weight bytes: of a sentence; live: of the array's token lanes, until "
        "the queue is empty, and in weight operations; latency: cycles from admission to result; "
        "x EdgeBERT: times as fast as all tokens through all layers there",
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


def targets_table(targets):
    """The targets, and whether they are met; None where there is none."""
    table = Table(title="targets")
    for name in ("about", "", "found", "wanted", "verdict"):
        table.add_column(name, justify="right" if name in ("found", "wanted") else "left")
    marks = {
        True: Text("met", style="green"),
        False: Text("FALLS SHORT", style="bold red"),
        None: Text("not measured", style="yellow"),
    }
    for target in targets:
        table.add_row(
            target.topic,
            target.what,
            "" if target.figure is None else f"{target.figure:.3f}",
            f"{'<=' if target.most else '>='} {target.wanted:g}",
            marks[target.met],
        )
    return table if targets else None


@contextlib.contextmanager
def bench_progress(cases):
    """A bar on standard error, in estimated seconds.

    Gives the `watch` of `terse.benchmark.rows.bench`.
    """
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
            """Move the bar to `cycles` of the case, None: the case is over."""
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
