# SPDX-License-Identifier: Apache-2.0
"""The memory map: the buffers that the machine has, and the areas of them that a program uses.

The datapath, the compiler, the emulator of the tests and docs/machine.md are made from these two
tables. Their formulas are text, so that the page shows what the machine computes. In those of a
buffer a name is a number of the `HardwareConfig`; in those of an area it is the model's where the
model has one, so that a small model's areas are small.

A tile is T = tokens rows. In a tile buffer the word of (tile, feature) is at
base + tile * stride + feature and holds that feature of the tile's rows.
"""

from dataclasses import dataclass

from firmware.isa import Target
from golden_model.fixed import ACT_BITS
from golden_model.hardware import ceil_div

__all__ = ["AREAS", "BUFFERS", "Area", "areas", "beyond", "buffer_words"]


def _number(formula, names):
    """The value of a formula of this file."""
    return eval(formula, {"max": max, "ceil_div": ceil_div}, names)


def _sizes(config):
    """What the formulas of the buffers name."""
    return {name: getattr(config, name) for name in dir(config) if not name.startswith("_")}


@dataclass(frozen=True)
class BufferPlan:
    """One buffer.

    words : formula of its depth; lanes : parameter that says how many values a word holds
    coded : they are codes, else ACT
    writers, readers : the blocks of hw/ that do it
    """

    name: str
    holds: str
    words: str
    writers: tuple
    readers: tuple
    lanes: str = "tokens"
    coded: bool = False
    address: str = "base + tile * stride + feature"

    def depth(self, config):
        """Words on a `HardwareConfig`."""
        return _number(self.words, _sizes(config))

    def bits(self, config):
        """Bits of a word on a `HardwareConfig`."""
        return getattr(config, self.lanes) * (config.format.bits if self.coded else ACT_BITS)


BUFFERS = {
    plan.name: plan
    for plan in (
        BufferPlan(
            "state",
            "residual stream, before it the sum of the embeddings; T features of a physical row",
            "physical_rows * row_words",
            ("queue/staging", "array/norm_writer"),
            ("rows/gather",),
            address="row * row_words + feature // T",
        ),
        BufferPlan(
            "sum",
            "what a NORM adds to the residual",
            "tiles * hidden",
            ("array/store",),
            ("array/norm",),
        ),
        BufferPlan(
            "normed",
            "what the next LINEAR encodes, and the residual behind it",
            "tiles * widest",
            ("array/norm_writer",),
            ("array/operand", "array/norm"),
        ),
        BufferPlan(
            "codes",
            "operands that are encoded once: queries, context, hidden features, pooled rows",
            "tiles * code_features + cls_tiles * hidden",
            ("array/store",),
            ("array/operand",),
            coded=True,
        ),
        BufferPlan(
            "keys",
            "keys of all live heads",
            "tiles * hidden",
            ("array/store",),
            ("attention/feed",),
            coded=True,
        ),
        BufferPlan(
            "values",
            "values of all live heads; P features of a row, each head begins a word",
            "rows * (ceil_div(hidden, columns) + heads)",
            ("array/store",),
            ("attention/feed",),
            lanes="columns",
            coded=True,
            address="word * rows + row",
        ),
        BufferPlan(
            "scores",
            "the predictor's value of each row; logits of [CLS] rows",
            "max(tiles, cls_tiles * classes)",
            ("array/store",),
            ("decide/drop", "decide/exit"),
        ),
    )
}


def buffer_words(config):
    """{name: words} of all buffers of a `HardwareConfig`."""
    return {name: plan.depth(config) for name, plan in BUFFERS.items()}


@dataclass(frozen=True)
class AreaPlan:
    """Where a tensor of the model lies while it is needed.

    base, stride, tiles : formulas, in words; besides sizes of model and hardware they name
    `attention`, the features of all live heads, and `value_words`, a row's words of VALUES
    """

    tensor: str
    buffer: Target
    base: str
    stride: str
    tiles: str = "tiles"


# Areas of one buffer may overlap where the program no longer needs the one when it makes the other.
AREAS = (
    AreaPlan("embed", Target.NORMED, "0", "embedding"),
    AreaPlan("x", Target.SUM, "0", "hidden"),
    AreaPlan("predict_hidden", Target.CODES, "0", "predictor"),
    AreaPlan("predict", Target.SCORES, "0", "1"),
    AreaPlan("q", Target.CODES, "0", "attention"),
    AreaPlan("k", Target.KEYS, "0", "attention"),
    AreaPlan("v", Target.VALUES, "0", "tokens * value_words"),
    AreaPlan("context", Target.CODES, "tiles * attention", "attention"),
    AreaPlan("attention", Target.SUM, "0", "hidden"),
    AreaPlan("attention_norm", Target.NORMED, "0", "hidden"),
    AreaPlan("hidden", Target.CODES, "0", "feed_forward"),
    AreaPlan("ffn", Target.SUM, "0", "hidden"),
    # Behind all that another layer's rows may hold there: the off-ramp of one pass reads it last.
    AreaPlan(
        "pooled",
        Target.CODES,
        "tiles * max(2 * attention, feed_forward, predictor)",
        "hidden",
        "cls_tiles",
    ),
    AreaPlan("logits", Target.SCORES, "0", "classes", "cls_tiles"),
)


@dataclass(frozen=True)
class Area:
    """An area of a compiled program, in words of its buffer."""

    tensor: str
    buffer: Target
    base: int
    stride: int
    end: int

    @property
    def target(self):
        """Instruction fields of the operation that writes it."""
        return {
            "target_buffer": self.buffer,
            "target_base": self.base,
            "target_stride": self.stride,
        }

    @property
    def source(self):
        """Instruction fields of the operation that reads it."""
        return {"source_base": self.base, "source_stride": self.stride}


def areas(model, live_heads, config):
    """{tensor: Area} of a `ModelConfig` with so many live heads on a `HardwareConfig`."""
    names = _sizes(config) | {
        "hidden": model.hidden,
        "feed_forward": model.feed_forward,
        "embedding": model.embedding,
        "predictor": model.predictor,
        "classes": model.classes,
        "attention": live_heads * model.head,
        "value_words": live_heads * ceil_div(model.head, config.columns),
    }
    found = {}
    for plan in AREAS:
        base, stride, tiles = (
            _number(formula, names) for formula in (plan.base, plan.stride, plan.tiles)
        )
        end = base + tiles * stride
        found[plan.tensor] = Area(plan.tensor, plan.buffer, base, stride, end)
    return found


def beyond(found, config):
    """Those areas of {tensor: Area} that end behind their buffer, as one line each."""
    words = buffer_words(config)
    for area in found.values():
        name = area.buffer.name
        if area.end > words[name.lower()]:
            yield (
                f"{area.tensor} must end within the {words[name.lower()]} words of {name}, "
                f"not at {area.end}"
            )
