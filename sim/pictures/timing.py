# SPDX-License-Identifier: Apache-2.0
"""Timing pictures: what the parts of the datapath do in each cycle of a simulated run."""

from sim.pictures.runs import CONFIG, MODEL, TOKENS
from sim.pictures.svg import Drawing

__all__ = ["attention_picture", "linear", "overlap"]

WIDTH = 960
LEFT, RIGHT = 170, 20  # beside the time axis
TOP = 66  # above the first row
ROW, GAP = 18, 8  # height of a row, and between rows
TICK = 50  # cycles
LAYER = 1  # in layer 0 weights and embeddings come at once
SHOWN = 420  # cycles around the end of an operation
FILLS = ("a", "b", "c", "d")
SOURCE = f"drawn by `python -m sim.pictures` from a run of {MODEL} on {CONFIG}, {TOKENS} tokens"


class Chart:
    """Rows of marks over the cycles begin .. end, counted from `begin`.

    names : of the rows, top to bottom; legend : [(fill, text)]
    """

    def __init__(self, title, names, begin, end, legend, marks=()):
        self.begin = begin
        self.end = end
        self.names = names
        self.bottom = TOP + len(names) * (ROW + GAP)
        self.drawing = Drawing(WIDTH, self.bottom + 40, SOURCE)
        self.drawing.text(16, 24, title, bold=True, size=15)
        self._axis()
        self._marks(marks)
        for name in names:
            self.drawing.text(LEFT - 10, self._y(name) + 13, name, anchor="end")
            self.drawing.rect(LEFT, self._y(name), WIDTH - LEFT - RIGHT, ROW, "box")
        place = 16
        for fill, text in legend:
            self.drawing.rect(place, 36, 12, 12, fill)
            self.drawing.text(place + 17, 47, text, "soft", size=12)
            place += 34 + 6.2 * len(text)

    def _x(self, cycle):
        return LEFT + (cycle - self.begin) * (WIDTH - LEFT - RIGHT) / (self.end - self.begin)

    def _y(self, name):
        return TOP + self.names.index(name) * (ROW + GAP)

    def _axis(self):
        for cycle in range(self.begin, self.end + 1, TICK):
            x = self._x(cycle)
            self.drawing.line((x, TOP - 4), (x, self.bottom), width=0.5)
            self.drawing.text(x, self.bottom + 14, cycle - self.begin, "soft", "middle", size=11)
        self.drawing.text(LEFT - 10, self.bottom + 14, "cycle", "soft", "end", size=11)

    def _marks(self, marks):
        """[(cycle, text)]: dashed lines, their texts below the axis."""
        for cycle, text in marks:
            x = self._x(cycle)
            self.drawing.line((x, TOP - 8), (x, self.bottom + 20), dashed=True)
            self.drawing.text(x, self.bottom + 33, text, "ink", "middle", size=11)

    def row(self, name, events):
        """events : [(cycle, fill)]; equal ones of successive cycles become one bar."""
        for first, last, fill in _bars(events):
            if last < self.begin or first >= self.end:
                continue
            x = self._x(max(first, self.begin))
            width = self._x(min(last + 1, self.end)) - x
            self.drawing.rect(x, self._y(name) + 1, width, ROW - 2, fill)

    def labels(self, name, events):
        """events : [(cycle, text)]; each text once, in the middle of its events."""
        spans = {}
        for cycle, text in events:
            first, last = spans.get(text, (cycle, cycle))
            spans[text] = min(first, cycle), max(last, cycle)
        for text, (first, last) in spans.items():
            x = self._x((first + last + 1) / 2)
            self.drawing.text(x, self._y(name) + 13, text, anchor="middle", size=11, bold=True)


def _bars(events):
    """[first cycle, last cycle, fill] of equal events in successive cycles."""
    bars = []
    for cycle, fill in sorted(events):
        if bars and bars[-1][1:] == [cycle - 1, fill]:
            bars[-1][1] = cycle
        else:
            bars.append([cycle, cycle, fill])
    return bars


def linear(run):
    """One LINEAR on two tiles: loads, lanes, columns, results."""
    number = run.number("attention", LAYER)
    operation = run.operations[number]
    lanes = [f"lane {lane} multiplies" for lane in range(run.program.hardware.columns)]
    chart = Chart(
        "One LINEAR on two tiles: 8 groups of 4 columns, half of the weights are zero",
        ["a tile's words load", *lanes, "columns leave", "words are written"],
        operation.start - 10,
        operation.end + 10,
        [
            (FILLS[0], "tile 0"),
            (FILLS[1], "tile 1"),
            ("none", "another operation"),
            ("c", "results"),
        ],
        [
            (operation.start, "it starts"),
            (operation.taken, "all is sent: the next one starts"),
            (operation.end, "it ends"),
        ],
    )
    parts = (run.loads(), *run.lanes(), run.columns())
    for name, events in zip(chart.names, parts, strict=False):
        chart.row(
            name,
            [
                (cycle, FILLS[turn.number] if one == number else "none")
                for cycle, one, turn in events
            ],
        )
    _writes(chart, run, {number: "c"}, "none")
    return str(chart.drawing)


def attention_picture(run):
    """The turns S0 S1 C0 S2 C1 .. of an ATTEND."""
    number = run.number("context", LAYER)
    operation = run.operations[number]
    chart = Chart(
        "ATTEND of four items: scores (S) run one item ahead of contexts (C)",
        [
            "operands load",
            "the array multiplies",
            "columns leave",
            "softmax gives",
            "words are written",
        ],
        operation.start - 10,
        operation.end + 10,
        [(fill, f"item {i}") for i, fill in enumerate(FILLS)],
        [(operation.start, "it starts"), (operation.end, "it ends")],
    )
    work = sorted({event for lane in run.lanes() for event in lane})
    parts = (run.loads(), work, run.columns(), run.numerators())
    for name, events in zip(chart.names, parts, strict=False):
        own = [(cycle, turn) for cycle, one, turn in events if one == number]
        chart.row(name, [(cycle, FILLS[turn.number]) for cycle, turn in own])
        chart.labels(name, [(cycle, f"{turn.kind}{turn.number}") for cycle, turn in own])
    _writes(chart, run, {number: "none"}, "none")
    return str(chart.drawing)


def overlap(run):
    """A LINEAR that follows another one and reads what it writes: the end of the older one."""
    number = run.number("hidden", LAYER)
    older, younger = run.operations[number : number + 2]
    middle = (older.taken + older.end) // 2
    chart = Chart(
        "Two operations overlap: the younger one reads words as the older one writes them",
        ["a tile's words load", "the array multiplies", "columns leave", "words are written"],
        middle - SHOWN // 2,
        middle + SHOWN // 2,
        [("a", "older: LINEAR hidden"), ("b", "younger: LINEAR ffn")],
        [(older.taken, "older has sent all; younger starts"), (older.end, "older ends")],
    )
    work = sorted({event for lane in run.lanes() for event in lane})
    fills = {number: "a", number + 1: "b"}
    for name, events in zip(chart.names, (run.loads(), work, run.columns()), strict=False):
        chart.row(name, [(cycle, fills.get(one, "none")) for cycle, one, _ in events])
    _writes(chart, run, fills, "none")
    return str(chart.drawing)


def _writes(chart, run, fills, other):
    """The row of writes; `fills` by number of operation."""
    chart.row(chart.names[-1], [(cycle, fills.get(one, other)) for cycle, one in run.writes()])
