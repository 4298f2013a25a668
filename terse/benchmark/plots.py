# SPDX-License-Identifier: Apache-2.0
"""Plots of `terse bench`: a roofline with every operation as a point, what runs when, and who meets deadlines."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.cycles.operations import SIMULATED
from terse.benchmark.rows import deadlines_met

__all__ = ["deadlines", "roofline", "timeline", "write_plots"]

BLOCKS = ("ADMIT", "LINEAR", "ATTEND", "NORM", "DROP", "EXIT")
MOST = 12  # timelines in a figure, cases that a roofline tells apart
SCALES = [step / 20 for step in range(8, 41)]  # of deadlines
LEAST = 0.1  # bytes/cycle at the roofline's left edge: attention fetches next to nothing


def write_plots(folder, result):
    """roofline.png; timeline.png where a layer was measured, deadlines.png where streams have them. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "roofline": roofline(result),
        "timeline": timeline(result),
        "deadlines": deadlines(result),
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            FigureCanvasAgg(figure)
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1], dpi=120, bbox_inches="tight")
    return paths


def roofline(result):
    """MACs/cycle against bytes/cycle, the array's and the buses' limits as lines. Many cases have a colour for each sparsity."""
    figure = Figure(figsize=(9, 6))
    axes = figure.subplots()
    groups = {}
    for (case, _), rows in zip(result.runs, result.tables, strict=True):
        points = [
            (row, max(LEAST, row.bytes / row.cycles), row.utilisation * row.T * row.P)
            for row in rows
            if row.scope == "operation" and row.utilisation
        ]
        groups.setdefault(
            case.label if len(result.runs) <= MOST else f"{rows[-1].sparsity:.0%} zeros", []
        ).extend(points)
    for label, points in groups.items():
        axes.scatter(
            [x for _, x, _ in points], [y for *_, y in points], s=18, alpha=0.6, label=label
        )
        for row, x, y in points if len(result.runs) <= 3 else ():
            axes.annotate(row.name, (x, y), fontsize=6, xytext=(3, 2), textcoords="offset points")
    for lanes in {case.hardware.tokens * case.hardware.columns for case, _ in result.runs}:
        axes.axhline(lanes, color="grey", linewidth=0.8)
    for speed in {case.bytes_per_cycle for case, _ in result.runs}:
        axes.axvline(speed, color="grey", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="bytes/cycle",
        ylabel="multiplications with non-zero weights for live tokens / cycle",
    )
    axes.legend(fontsize=5, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def timeline(result):
    """Operations of each single layer by block along the cycles; the array's busy part is dark. None without such a run."""
    runs = [run for run in result.runs if not run[0].sentences and run[0].layers == 1][:MOST]
    if not runs:
        return None
    figure = Figure(figsize=(11, 2.2 * len(runs)))
    for axes, (case, measurement) in zip(
        figure.subplots(len(runs), squeeze=False)[:, 0], runs, strict=True
    ):
        begin = 0
        for operation in measurement.operations:
            place = BLOCKS.index(operation.opcode)
            axes.barh(
                place,
                operation.cycles,
                left=begin,
                color="lightsteelblue",
                edgecolor="white",
                linewidth=0.3,
            )
            axes.barh(place, operation.counters["ARRAY_BUSY"], left=begin, height=0.4, color="navy")
            begin += operation.cycles
        axes.set_yticks(range(len(BLOCKS)), BLOCKS, fontsize=6)
        axes.set_title(case.label, fontsize=7)
        axes.tick_params(axis="x", labelsize=6)
        axes.invert_yaxis()
    axes.set_xlabel("cycles (dark: the array multiplies)", fontsize=7)
    figure.tight_layout()
    return figure


def deadlines(result):
    """Share of the deadlines that each order meets, by how far they are: scaled, they ask for the same order. None without such a run."""
    runs = [run for run in result.runs if run[0].order]
    if not runs:
        return None
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for case, measurement in runs:
        shares = [100 * deadlines_met(case, measurement, scale) for scale in SCALES]
        axes.plot(
            SCALES,
            shares,
            "--" if case.source == SIMULATED else "-",
            label=f"{case.order}, {case.sentences} sentences, {case.source}",
        )
    axes.set(xlabel="deadlines, times as far as those of the table", ylabel="deadlines met, %")
    axes.legend(fontsize=8)
    return figure
