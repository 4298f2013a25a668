# SPDX-License-Identifier: Apache-2.0
"""Block diagrams of hw/: the whole machine, and its datapath with the widths of a configuration."""

from amaranth.hdl import Shape

from golden_model.hardware import HARDWARE
from hw.accelerator import Accelerator
from sim.pictures.svg import Drawing

__all__ = ["datapath", "machine"]

CONFIG = "ecp5"
SOURCE = f"drawn by `python -m sim.pictures`; widths of {CONFIG}"


class Diagram:
    """Boxes with a name and its place in hw/, and arrows between their sides."""

    def __init__(self, width, height, title):
        self.drawing = Drawing(width, height, SOURCE)
        self.drawing.text(16, 24, title, bold=True, size=15)
        self.boxes = {}

    def box(self, name, room, x, y, width=130, height=46, kind="room"):
        """A block of the folder `room` (or a line about it), its upper left corner at x, y."""
        self.boxes[name] = (x, y, width, height)
        self.drawing.rect(x, y, width, height, kind, edge=True, radius=5)
        middle = x + width / 2
        self.drawing.text(middle, y + 20, name, anchor="middle", bold=True)
        self.drawing.text(middle, y + 36, room, "soft", "middle", size=11)

    def at(self, name, side, share=0.5):
        """The point of a box's side (left, right, top, bottom) at a share of it."""
        x, y, width, height = self.boxes[name]
        return {
            "left": (x, y + share * height),
            "right": (x + width, y + share * height),
            "top": (x + share * width, y),
            "bottom": (x + share * width, y + height),
        }[side]

    def arrow(self, start, end, label="", place=None, both=False, via=(), anchor="middle"):
        """An arrow between two points, its label at `place` or above its middle."""
        self.drawing.line(start, *via, end, arrow=True, both=both)
        x, y = place or ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 5)
        self.drawing.text(x, y, label, "soft", anchor, size=11)


def _bits(value):
    return Shape.cast(value.shape()).width


def datapath():
    """The buffers, who writes and who reads them, and the widths between the blocks."""
    config = HARDWARE[CONFIG]
    path = Accelerator(config).core.datapath
    page = Diagram(960, 640, f"The datapath ({CONFIG}: T = {config.tokens}, P = {config.columns})")
    _buffers(page, path)
    page.box("gather", "rows/", 270, 62)
    page.box("operand", "array/: encoder", 270, 150, height=110)
    page.box("feed", "attention/", 270, 310, height=80)
    page.box("norm", "array/: LayerNorm", 270, 470)
    page.box("drop, exit", "decide/", 270, 555)
    page.box("mac_array", f"array/: {config.columns} lanes, each with", 500, 150, 160, 240)
    for i, text in enumerate(("a ring of weights,", "two banks of a tile,", "T multipliers,")):
        page.drawing.text(580, 202 + 16 * i, text, "soft", "middle", size=11)
    page.drawing.text(580, 202 + 48, "T accumulators", "soft", "middle", size=11)
    page.box("store", "array/: shift, GELU, encode", 730, 150, 160, 90)
    page.box("softmax", "attention/: scoring", 730, 344, 160)
    _reads(page, path)
    _work(page, path, config)
    _results(page)
    return str(page.drawing)


def _buffers(page, path):
    places = {"state": 62, "normed": 132, "codes": 202, "keys": 302, "values": 362, "sum": 470}
    for name, y in (places | {"scores": 555}).items():
        buffer = getattr(path, name)
        page.box(name.upper(), f"{buffer.depth:,} x {_bits(buffer.write_data)} bits", 60, y, 130)


def _reads(page, path):
    """Who reads which buffer."""
    for buffer, reader, share in (
        ("STATE", "gather", 0.5),
        ("NORMED", "operand", 0.2),
        ("CODES", "operand", 0.7),
        ("KEYS", "feed", 0.3),
        ("VALUES", "feed", 0.75),
        ("SUM", "norm", 0.5),
        ("SCORES", "drop, exit", 0.5),
    ):
        source = page.at(buffer, "right")
        target = page.at(reader, "left", share)
        middle = (source[0] + 36, source[1]), (source[0] + 36, target[1])
        words = _bits(getattr(path, buffer.lower()).o.payload["values"].as_value())
        page.arrow(source, target, words, (source[0] + 19, source[1] - 5), via=middle)
    residual = page.at("gather", "right", 0.3)
    norm = page.at("norm", "right", 0.5)
    page.drawing.line(residual, (452, residual[1]), (452, norm[1]), norm, arrow=True)
    page.drawing.text(446, 420, "residual (STATE; NORMED)", "soft", "end", size=11)


def _work(page, path, config):
    """From the operands through the array to the store, and attention's way back."""
    array = path.array
    column = array.o.payload.accumulators.as_value()
    codes = _bits(array.i_load.payload.codes.as_value())
    page.arrow(
        page.at("gather", "bottom"),
        page.at("operand", "top"),
        f"{_bits(path.gather.o.payload['values'].as_value())} (T x 16)",
        (342, 133),
        anchor="start",
    )
    page.arrow(page.at("operand", "right", 0.4), (500, 194), f"{codes} (T x {config.format.bits})")
    page.arrow(
        page.at("feed", "right", 0.5),
        (500, 350),
        f"{_bits(array.i_dense.payload.codes.as_value())} (P x {config.format.bits})",
    )
    page.arrow((580, 100), page.at("mac_array", "top"), "", (0, 0))
    page.drawing.text(580, 78, "weights", "ink", "middle", size=12)
    page.drawing.text(
        580, 93, f"{_bits(array.i_weights.payload.data)} (the bus)", "soft", "middle", size=11
    )
    page.arrow((660, 195), page.at("store", "left"), _bits(column))
    page.drawing.text(695, 212, f"(T x {config.accumulator_bits})", "soft", "middle", size=11)
    page.arrow(
        page.at("store", "bottom", 0.4),
        page.at("softmax", "top", 0.4),
        f"scores {_bits(path.store.scores.payload['values'].as_value())}",
        (788, 296),
        anchor="end",
    )
    page.arrow(
        page.at("softmax", "top", 0.7),
        page.at("store", "bottom", 0.7),
        f"denominators {_bits(path.store.denominators.payload.as_value())}",
        (848, 296),
        anchor="start",
    )
    page.arrow(page.at("softmax", "left"), (660, 367), f"{codes}")
    page.drawing.text(695, 384, "numerators", "soft", "middle", size=11)
    page.arrow((125, 36), page.at("STATE", "top"), "staging: embeddings", (135, 50), anchor="start")


def _results(page):
    """The store's results to five buffers, NORM's to two."""
    right = page.at("store", "right", 0.5)
    page.drawing.line(right, (950, right[1]), (950, 622), (18, 622), (18, 219))
    page.drawing.text(944, 615, "results of LINEAR and ATTEND", "soft", "end", size=11)
    for name in ("CODES", "KEYS", "VALUES", "SUM", "SCORES"):
        end = page.at(name, "left", 0.4)
        page.drawing.line((18, end[1]), end, arrow=True)
    page.drawing.line((18, page.at("CODES", "left", 0.4)[1]), (18, 622))
    top = page.at("norm", "top")
    page.drawing.line(
        top, (top[0], 440), (36, 440), (36, page.at("STATE", "left", 0.7)[1]), dashed=True
    )
    page.drawing.text(262, 434, "results of NORM", "soft", "end", size=11)
    for name in ("STATE", "NORMED"):
        end = page.at(name, "left", 0.7)
        page.drawing.line((36, end[1]), end, arrow=True, dashed=True)


def machine():
    """Buses, registers and the blocks of the core."""
    config = HARDWARE[CONFIG]
    bus = config.bus_bits
    page = Diagram(960, 560, f"The machine ({CONFIG}: bus of {bus} bits)")
    for name, room, x, y in (
        ("registers", "bus/", 130, 60),
        ("loader", "bus/", 310, 60),
        ("dma: reader", "bus/", 130, 150),
        ("fetch", "bus/", 310, 150),
        ("sequencer", "program/", 490, 150),
        ("prefetch", "program/", 490, 230),
        ("embedding", "queue/", 130, 330),
        ("staging", "queue/", 310, 330),
        ("admission", "queue/", 490, 330),
        ("rows", "rows/: row table", 490, 410),
        ("results", "queue/: records", 310, 490),
        ("dma: writer", "bus/", 130, 490),
        ("dvfs", "queue/", 490, 490),
    ):
        page.box(name, room, x, y)
    page.box("issue", "program/", 670, 150)
    page.box("datapath", "array/ attention/ rows/", 670, 230, 180, 130)
    page.drawing.text(760, 290, "LINEAR, NORM, ATTEND", "soft", "middle", size=11)
    page.drawing.text(760, 308, "and the seven buffers", "soft", "middle", size=11)
    page.box("drop, exit", "decide/", 670, 410)
    _ports(page, bus)
    _flows(page, bus)
    return str(page.drawing)


def _ports(page, bus):
    for text, width, name, both in (
        ("s_axil_*", 32, "registers", True),
        ("m_axi_* read", bus, "dma: reader", False),
        ("m_axi_emb_*", bus, "embedding", False),
        ("m_axi_* write", bus, "dma: writer", True),
    ):
        end = page.at(name, "left")
        start = (20, end[1])
        if name == "dma: writer":
            start, end, both = end, start, False
        page.arrow(start, end, f"{text}", (20, page.at(name, "left")[1] - 6), both, anchor="start")
        page.drawing.text(20, page.at(name, "left")[1] + 15, width, "soft", size=11)
    page.arrow(page.at("registers", "top", 0.2), (156, 36), "irq", (162, 48), anchor="start")
    page.arrow(page.at("dvfs", "right"), (700, 513), "dvfs_*", (660, 506))


def _flows(page, bus):
    """(from, side, to, side, label) between the blocks."""
    for start, out, end, into, label in (
        ("dma: reader", "right", "fetch", "left", bus),
        ("dma: reader", "top", "loader", "left", ""),
        ("fetch", "right", "sequencer", "left", 32),
        ("sequencer", "right", "issue", "left", ""),
        ("sequencer", "bottom", "prefetch", "top", ""),
        ("issue", "bottom", "datapath", "top", ""),
        ("embedding", "right", "staging", "left", 16),
        ("staging", "right", "admission", "left", ""),
        ("admission", "bottom", "rows", "top", ""),
        ("drop, exit", "left", "rows", "right", ""),
        ("results", "left", "dma: writer", "right", 32),
    ):
        page.arrow(page.at(start, out), page.at(end, into), label)
    page.arrow(page.at("prefetch", "right"), (670, 253), bus)
    page.arrow(
        page.at("fetch", "bottom"),
        page.at("staging", "top"),
        "descriptors, tokens",
        (368, 310),
        anchor="end",
    )
    page.arrow(
        page.at("staging", "top", 0.8),
        (670, 290),
        "embeddings into STATE",
        (530, 304),
        via=((414, 290),),
        anchor="start",
    )
    corners = (645, 440), (645, 385), (700, 385)
    page.arrow((620, 440), (700, 360), "rows", (653, 380), via=corners, anchor="start")
    page.arrow((780, 360), (780, 410), "SCORES", (788, 388), anchor="start")
    page.arrow(
        page.at("drop, exit", "bottom"),
        page.at("results", "right"),
        "verdicts, logits",
        (560, 548),
        via=((735, 552), (460, 552), (460, 513)),
    )
    page.drawing.line(page.at("loader", "right"), (900, 83), (900, 300), (850, 300), arrow=True)
    page.drawing.text(
        620, 76, "constants: gamma, beta, spans, eta, DVFS table, work", "soft", "middle", size=11
    )
    page.drawing.line((195, 196), (195, 223), (300, 223), (300, 253), (490, 253), arrow=True)
    page.drawing.text(240, 217, "weights", "soft", "middle", size=11)
