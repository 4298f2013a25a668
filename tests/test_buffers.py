# SPDX-License-Identifier: Apache-2.0
"""The memory map: no program that fits leaves a buffer, and the page names blocks that exist."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from firmware.buffers import AREAS, BUFFERS, areas, beyond, buffer_words
from firmware.columns import PADDING, unpack_columns
from firmware.compiler import CompileError, compile_network
from firmware.fit import problems
from firmware.isa import Opcode, Source, Target
from golden_model.checkpoint import CheckpointError
from golden_model.config import ModelConfig
from golden_model.hardware import HARDWARE, HardwareConfig, ceil_div
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint

ROOT = Path(__file__).parent.parent
READ = {Source.NORMED: "normed", Source.CODES: "codes"}


def hardware(draw, classes, **sizes):
    """A configuration of these sizes at least, and not much more."""
    grown = {name: value + draw(st.sampled_from([0, 0, 1, 5])) for name, value in sizes.items()}
    grown["classes"] = classes
    tokens = draw(st.integers(2, 6))
    rows = ceil_div(grown["positions"], tokens) * tokens + draw(st.sampled_from([0, tokens]))
    reduction = max(grown[name] for name in ("hidden", "feed_forward", "embedding", "positions"))
    return HardwareConfig(
        tokens=tokens,
        columns=draw(st.integers(2, 7)),
        slots=draw(st.integers(1, 9)),
        rows=rows,
        weight_depth=1 << (4 * reduction).bit_length(),
        **grown,
    )


@st.composite
def pairs(draw):
    """A model and a hardware configuration that is about as large."""
    sixteens = st.integers(1, 4).map(lambda count: 16 * count)
    model = ModelConfig(
        layers=2,
        embedding=draw(sixteens),
        hidden=draw(sixteens),
        heads=draw(st.sampled_from([1, 2, 4, 8])),
        feed_forward=draw(sixteens),
        vocabulary=8,
        positions=draw(st.integers(2, 70)),
        classes=draw(st.integers(2, 16)),
        predictor=2 * draw(sixteens),
    )
    names = ("hidden", "feed_forward", "embedding", "heads", "layers", "positions")
    sizes = {name: getattr(model, name) for name in names}
    return model, hardware(draw, classes=model.classes, **sizes)


def addresses(program):
    """(buffer, first word beyond what is used) of every operand and result of a program."""
    config = program.hardware
    words = {"rows": config.tiles, "cls": config.cls_tiles}
    for pc, values in enumerate(program.instructions):
        opcode = values["opcode"]
        tiles = words["cls" if values.get("cls") or opcode == Opcode.EXIT else "rows"]
        width = values.get("reduction", 1)
        base, stride = values.get("source_base", 0), values.get("source_stride", 0)
        read = base + (tiles - 1) * stride
        if opcode in (Opcode.LINEAR, Opcode.NORM) and values.get("source") in READ:
            yield READ[values["source"]], read + width
        if opcode in (Opcode.DROP, Opcode.EXIT):
            yield "scores", read + (width if values.get("groups") else 1)
        if opcode == Opcode.ATTEND:
            yield "codes", read + values["groups"] * width
            yield "keys", (tiles - 1) * stride + values["groups"] * width
            yield "values", config.rows * values["groups"] * ceil_div(width, config.columns)
            width *= values["groups"]
        if opcode == Opcode.NORM and not values.get("skip_sum"):
            yield "sum", tiles * width
        written = values.get("target_buffer")
        if opcode == Opcode.LINEAR:
            width = 1 + max(destinations(program.columns[pc], config))
            if written == Target.VALUES:
                yield "values", width * config.rows
                continue
        if opcode in (Opcode.LINEAR, Opcode.NORM, Opcode.ATTEND) and written != Target.STATE:
            written = Target.CODES if opcode == Opcode.ATTEND else written
            last = values.get("target_base", 0) + (tiles - 1) * values["target_stride"]
            yield Target(written).name.lower(), last + width


def destinations(streams, config):
    """Where the columns of a LINEAR's streams are stored, as the hardware reads it."""
    for packed in streams:
        groups = unpack_columns(
            packed.data, config.columns, config.bus_bytes, packed.groups, packed.rows
        )
        for lanes in groups:
            yield from (lane.destination for lane in lanes if lane.destination != PADDING)


@settings(max_examples=25)
@given(pairs())
def test_no_program_leaves_a_buffer(pair):
    model, config = pair
    checkpoint = random_checkpoint(model, seed=1, eta=0.5, exit_threshold=0.5)
    try:
        network = quantize(checkpoint, config.format)
    except CheckpointError:  # a predictor wider than all else may overflow the accumulator
        reject()
    if problems(network, config):
        with pytest.raises(CompileError):
            compile_network(network, config)
        return
    words = buffer_words(config)
    for buffer, end in addresses(compile_network(network, config)):
        assert end <= words[buffer], f"{buffer}: {end} of {words[buffer]}"


def test_predictor_wider_than_codes():
    """Its hidden features would push the pooled row behind the end of CODES."""
    model = ModelConfig(2, 16, 16, 1, 16, 64, 64, 2, predictor=64)
    config = HardwareConfig(
        hidden=16, feed_forward=16, embedding=16, heads=1, layers=2, positions=64, classes=2
    )
    network = quantize(random_checkpoint(model, seed=1), config.format)
    with pytest.raises(CompileError, match=r"predictor must be at most 32, .*=32 would fit"):
        compile_network(network, config)
    found = areas(model, 1, config)
    assert list(beyond(found, config)) == [
        "predict_hidden must end within the 528 words of CODES, not at 1024",
        "pooled must end within the 528 words of CODES, not at 1040",
    ]
    model = dataclasses.replace(model, predictor=32)
    network = quantize(random_checkpoint(model, seed=1), config.format)
    assert compile_network(network, config).image


@pytest.mark.parametrize("name", HARDWARE)
def test_depths_of_the_configurations(name):
    """Changing one changes the area: on purpose only."""
    assert (
        buffer_words(HARDWARE[name])
        == {
            "ci": dict(
                state=3072, sum=2048, normed=2048, codes=8320, keys=2048, values=2304, scores=16
            ),
            "ecp5": dict(
                state=1536, sum=1024, normed=1024, codes=4224, keys=1024, values=1280, scores=16
            ),
            "edgebert": dict(
                state=9216, sum=6144, normed=6144, codes=25344, keys=6144, values=7680, scores=16
            ),
        }[name]
    )


def test_blocks_exist():
    for plan in BUFFERS.values():
        assert plan.writers and plan.readers
        for block in (*plan.writers, *plan.readers):
            assert (ROOT / "hw" / f"{block}.py").is_file(), f"{plan.name}: {block}"


def test_every_area_is_in_a_buffer():
    assert {plan.buffer.name.lower() for plan in AREAS} < set(BUFFERS)
