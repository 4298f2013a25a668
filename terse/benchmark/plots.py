# SPDX-License-Identifier: Apache-2.0
"""Pictures of `terse bench`, each for a light page and for a dark one."""

from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.typing import RcKeyType

from sim.cycles.operations import SIMULATED
from terse.benchmark.cases import Deadlines, Emulated, Passage
from terse.benchmark.rows import deadlines_met

__all__ = ["PLOTS", "chosen", "write_plots"]

ENGINES = ("ADMIT", "LINEAR", "ATTEND", "NORM", "DROP", "EXIT")
MOST = 4  # cases that a roofline or timelines can tell apart
USUAL = ((128, 0.0), (128, 0.6), (16, 0.6))  # tokens, zeros: the cases shown of too many
SCALES = [step / 20 for step in range(8, 41)]  # of deadlines
WIDTH = 9  # inches
DPI = 160
FEW = 32768  # MACs for a byte at the roofline's right edge: attention fetches next to nothing
LONGEST = 128  # tokens
CLOSE = 1.6  # operations whose figures differ by less than this factor share a line of names
LINE = 12  # points from one case's names to the next one's
COLORS = ("#2f81f7", "#e16f24", "#2da44e", "#a475f9")
THEMES = {
    "": {"page": "#ffffff", "ink": "#1f2328", "soft": "#57606a", "grid": "#d0d7de"},
    "_dark": {"page": "#0d1117", "ink": "#e6edf3", "soft": "#9198a1", "grid": "#30363d"},
}


def write_plots(folder, result):
    """Write NAME.png and NAME_dark.png of each of `PLOTS` that has cases in the result -> paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PLOTS.items():
        for suffix, theme in THEMES.items():
            with matplotlib.rc_context(_style(theme)):
                figure = draw(result, theme)
                if figure is None:
                    continue
                FigureCanvasAgg(figure)
                paths.append(folder / f"{name}{suffix}.png")
                figure.savefig(paths[-1], dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return paths


def _style(theme) -> dict[RcKeyType, Any]:
    """matplotlib's settings for a page."""
    return {
        "figure.facecolor": theme["page"],
        "savefig.facecolor": theme["page"],
        "axes.facecolor": theme["page"],
        "axes.edgecolor": theme["soft"],
        "axes.labelcolor": theme["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS),
        "text.color": theme["ink"],
        "xtick.color": theme["soft"],
        "ytick.color": theme["soft"],
        "grid.color": theme["grid"],
        "legend.frameon": False,
        "font.size": 11,
    }


def chosen(result):
    """(cases to show, title): single layers, each by one source; of many the usual ones."""
    layers = {}
    for run, rows in zip(result.runs, result.tables, strict=True):
        case = run[0]
        if case.is_layer and (case.label not in layers or case.source == SIMULATED):
            layers[case.label] = (*run, rows)
    found = list(layers.values())
    if len(found) <= MOST:
        return found, ""
    usual = [Passage(tokens=tokens, sparsity=zeros).label for tokens, zeros in USUAL]
    some = [layers[label] for label in usual if label in layers] or found[:MOST]
    return some, f"{len(some)} of {len(found)} layers; --only chooses others"


def roofline(result, theme):
    """MACs per cycle against MACs per byte, under a roof for each array and bandwidth."""
    shown, note = chosen(result)
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, 5.4))
    axes = figure.subplots()
    for lanes, speed in sorted(
        {(case.hardware.tokens * case.hardware.columns, case.bytes_per_cycle) for case, *_ in shown}
    ):
        axes.plot([0.1, lanes / speed, FEW], [0.1 * speed, lanes, lanes], color=theme["soft"])
        axes.annotate(
            f"{lanes} multipliers", (FEW, lanes), (0, 4), textcoords="offset points", ha="right"
        )
        axes.annotate(
            f"{speed} bytes/cycle",
            (1.6, 1.6 * speed),
            (-8, 8),
            textcoords="offset points",
            ha="right",
        )
    for number, (case, _, rows) in enumerate(shown):
        points = [_point(row) for row in rows if row.scope == "operation" and row.utilisation]
        color = COLORS[number]
        axes.scatter(
            [x for x, *_ in points],
            [y for _, y, _ in points],
            color=color,
            label=_short(case),
            s=36,
        )
        for x, y, names in _named(points):
            place = (6, -LINE * (number + 1))
            axes.annotate(names, (x, y), place, textcoords="offset points", color=color, fontsize=9)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.1, 1.6 * FEW),
        xlabel="multiplications for each byte moved",
        ylabel="multiplications per cycle",
    )
    axes.set_title(f"Roofline {f'({note})' if note else ''}", loc="left", fontweight="bold")
    axes.legend(loc="lower right")
    return figure


def _point(row):
    """(MACs per byte, MACs per cycle, name); useful MACs: non-zero weights, live tokens."""
    per_cycle = row.utilisation * row.T * row.P
    return min(FEW, per_cycle * row.cycles / max(row.bytes, 1)), per_cycle, row.name


def _named(points):
    """[(x, y, names)]: those that lie close together share a place for their names."""
    places = []
    for x, y, name in points:
        near = (
            one for one in places if max(one[0] / x, x / one[0], one[1] / y, y / one[1]) < CLOSE
        )
        place = next(near, None)
        if place is None:
            places.append([x, y, name])
        else:
            place[2] += f" {name}"
    return places


def _short(case):
    """What differs between layers."""
    return (
        f"{case.model} {case.shape}, {case.tokens} tokens, {case.sparsity:.0%} zeros, {case.source}"
    )


def timeline(result, theme):
    """The operations of each layer along the cycles; the solid part is the array's."""
    shown, note = chosen(result)
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, 2.3 * len(shown)))
    for number, (axes, (case, measurement, _)) in enumerate(
        zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True)
    ):
        begin = 0
        for one in measurement.operations:
            place = ENGINES.index(one.opcode)
            busy = one.counters["ARRAY_BUSY"] / 1000
            cycles = one.cycles / 1000
            axes.barh(place, cycles, left=begin, color=COLORS[number], alpha=0.35)
            axes.barh(place, busy, left=begin, height=0.4, color=COLORS[number])
            begin += cycles
        axes.set_yticks(range(len(ENGINES)), ENGINES, fontsize=9)
        axes.set_title(f"{case.label} ({case.source})", fontsize=10, loc="left")
        axes.set_xlabel("cycles, thousands", fontsize=9)
        axes.invert_yaxis()
    if note:
        figure.text(0.99, 0, note, ha="right", color=theme["soft"], fontsize=9)
    figure.tight_layout()
    return figure


def zeros(result, theme):
    """A sentence through albert-base against EdgeBERT, by zeros, with and without drops."""
    series = {}
    for (case, _), rows in zip(result.runs, result.tables, strict=True):
        full = isinstance(case, Passage) and case.layers > 1
        if full and case.tokens == LONGEST:
            name = f"{case.tokens} tokens through {case.layers} layers"
        elif isinstance(case, Emulated) and case.profile[0] == LONGEST:
            live = ", ".join(map(str, case.profile[:-1]))
            name = (
                f"{live} and {case.profile[-1]} tokens live, exit after layer {len(case.profile)}"
            )
        else:
            continue
        series.setdefault(name, {})[case.sparsity] = rows[-1].product_vs_edgebert
    if not series:
        return None
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    shares = sorted({share for values in series.values() for share in values})
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [
            shares.index(share) + (number - (len(series) - 1) / 2) * width for share in values
        ]
        bars = axes.bar(places, values.values(), width * 0.94, label=name)
        axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.axhline(1, color=theme["ink"], linewidth=1, label="EdgeBERT, all tokens, all layers")
    axes.set_xticks(
        range(len(shares)), ["dense" if not share else f"{share:.0%} zeros" for share in shares]
    )
    axes.set(ylabel="times as fast as EdgeBERT")
    axes.set_title(
        "A sentence through albert-base, 16 x 16 multipliers", loc="left", fontweight="bold"
    )
    axes.legend(loc="upper left")
    return figure


def tokens(result, theme):
    """A layer against the same layer with all tokens, a line for each share of zeros."""
    usual = Passage()
    series = {}
    for (case, _), rows in zip(result.runs, result.tables, strict=True):
        if (
            case.is_layer
            and case.label == Passage(tokens=case.tokens, sparsity=case.sparsity).label
        ):
            layer = next(row for row in rows if row.scope == "layer")
            series.setdefault(case.sparsity, {})[case.tokens] = layer.cycles
    series = {
        share: cycles for share, cycles in series.items() if LONGEST in cycles and len(cycles) > 2
    }
    if not series:
        return None
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    counts = sorted({count for cycles in series.values() for count in cycles})
    axes.plot(
        counts, [LONGEST / n for n in counts], "--", color=theme["soft"], label="in proportion"
    )
    for share, cycles in sorted(series.items()):
        faster = {count: cycles[LONGEST] / cycles[count] for count in sorted(cycles)}
        name = f"{share:.0%} zeros" if share else "dense"
        axes.plot(list(faster), list(faster.values()), marker="o", label=name)
        axes.annotate(
            f"{faster[counts[0]]:.1f}",
            (counts[0], faster[counts[0]]),
            (6, 4),
            textcoords="offset points",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="live tokens",
        ylabel=f"times as fast as {LONGEST} tokens",
        ylim=(0.9, 20),
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xticks(counts)
    axes.set_yticks([1, 2, 4, 8, 16])
    axes.invert_xaxis()
    axes.grid(axis="y")
    axes.set_title(
        f"A layer of {usual.model}, {usual.shape}, {usual.bytes_per_cycle} bytes/cycle: "
        "what dropping tokens brings",
        loc="left",
        fontweight="bold",
    )
    axes.legend(loc="upper left")
    return figure


def deadlines(result, theme):
    """Deadlines that each order meets, by how far they are: scaled, they ask for the same order."""
    runs = [run for run in result.runs if isinstance(run[0], Deadlines)]
    if not runs:
        return None
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    for case, measurement in runs:
        shares = [100 * (deadlines_met(case, measurement, scale) or 0.0) for scale in SCALES]
        style = "--" if case.source == SIMULATED else "-"
        axes.plot(SCALES, shares, style, label=f"{case.order}, {case.source}")
    axes.set(xlabel="deadlines, times as far as those of the table", ylabel="deadlines met, %")
    axes.set_title(f"{runs[0][0].sentences} sentences of tiny", loc="left", fontweight="bold")
    axes.legend()
    return figure


PLOTS = {
    "roofline": roofline,
    "timeline": timeline,
    "zeros": zeros,
    "tokens": tokens,
    "deadlines": deadlines,
}
