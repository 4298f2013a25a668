# SPDX-License-Identifier: Apache-2.0
"""Compiled images, run by tests/emulator.py, give the golden model's bits.

Networks that do not fit are refused.
"""

import dataclasses
from functools import cache

import pytest
import torch

from firmware.columns import PADDING, PORTION, unpack_columns
from firmware.compiler import CompileError, compile_network
from firmware.embedding_image import parse_embedding
from firmware.fit import enlarged, problems
from firmware.image import parse_image
from firmware.image_match import check_image
from firmware.isa import Opcode, Select, Source, Target
from firmware.limit import limit
from firmware.show import show
from golden_model.config import AF8, INT8, ModelConfig, NumberFormat
from golden_model.hardware import HARDWARE, UNITS, HardwareConfig
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from tests.emulator import Machine

CI = HARDWARE["ci"]
MODEL = ModelConfig(
    layers=3,
    embedding=16,
    hidden=48,
    heads=4,
    feed_forward=64,
    vocabulary=40,
    positions=16,
    classes=3,
)
SMALL = {
    "hidden": 48,
    "feed_forward": 64,
    "embedding": 16,
    "heads": 4,
    "positions": 16,
    "rows": 32,
    "weight_depth": 256,
}


@cache
def network(fmt=AF8, model=MODEL, **options):
    return quantize(
        random_checkpoint(model, seed=3, calibration=2, **{"exit_threshold": 0.8} | options), fmt
    )


def compare(program, net, sentences, threshold=None):
    """Run image and golden model; every tensor that an instruction made must be the same."""
    if threshold is not None:
        net = dataclasses.replace(net, exit_threshold=threshold)
    machine = Machine(program, threshold)
    results = machine.run(sentences)
    for number, (result, sentence) in enumerate(zip(results, sentences, strict=True)):
        golden = run(net, *sentence)
        assert result["logits"] == golden.logits and result["exit_layer"] == golden.exit_layer
        assert (
            result["live"] == golden.tokens_per_layer
            and result["dropped"] == golden.dropped_at_layer
        )
        for name, tensor in machine.tensors[number].items():
            assert torch.equal(tensor.flatten(), golden.tensors[name].flatten()), (
                f"sentence {number}: {name}"
            )
    return machine, results


CASES = {
    "ci": (CI, AF8, {}),
    "one_slot": (HardwareConfig(slots=1, **SMALL | {"rows": 16}), AF8, {"dead_heads": 1}),
    "odd_lanes": (
        HardwareConfig(tokens=6, columns=5, bus_bits=64, **SMALL | {"rows": 36}),
        AF8,
        {"dead_heads": 1},
    ),
    "many_slots": (
        HardwareConfig(tokens=2, columns=16, bus_bits=128, slots=8, **SMALL | {"rows": 48}),
        AF8,
        {},
    ),
    "int8": (dataclasses.replace(CI, format=INT8), INT8, {"dead_heads": 2}),
    "narrow": (dataclasses.replace(CI, format=NumberFormat(6, 2)), NumberFormat(6, 2), {}),
    "no_units": (
        dataclasses.replace(CI, units=frozenset()),
        AF8,
        {"spans": False, "eta": 0.0, "exit_threshold": 0.0},
    ),
    "gelu": (CI, AF8, {"model": dataclasses.replace(MODEL, activation="gelu")}),
}


@pytest.mark.parametrize("case", CASES)
def test_image_computes_the_golden_model(case):
    """The emulator computes the golden tensors from a compiled image; `ci` covers all paths."""
    hardware, fmt, options = CASES[case]
    net = network(fmt, **options)
    machine, results = compare(
        compile_network(net, hardware), net, random_sentences(MODEL, 6, seed=1)
    )
    if case == "ci":
        assert {
            "layer0.q",
            "layer0.k",
            "layer0.v",
            "layer0.context",
            "layer0.predict_hidden",
            "layer0.hidden",
            "layer0.pooled",
            "layer0.logits",
            "layer0.keep",
            "embed_sum",
            "embed",
            "layer0.entropy",
        } <= set(machine.tensors[0])
        assert len({result["exit_layer"] for result in results}) > 1, (
            "the sentences must leave at different layers"
        )
        assert machine.passes < 6 * MODEL.layers, "sentences must share passes"


def test_threshold_can_be_set_with_early_exit():
    net = network(exit_threshold=0.0)
    assert not compile_network(net, CI).early_exit
    machine, _ = compare(
        compile_network(net, CI, early_exit=True), net, random_sentences(MODEL, 3), threshold=65536
    )
    assert "layer0.entropy" in machine.tensors[0]


def test_program_is_what_the_contract_says():
    program = compile_network(network(), CI)
    opcodes = [values["opcode"] for values in program.instructions]
    assert opcodes[0] == Opcode.ADMIT and opcodes[-1] == Opcode.LOOP
    group = opcodes.index(Opcode.GROUP)
    assert program.instructions[group]["target"] == opcodes.index(Opcode.LOOP) + 1
    for pc, values in enumerate(program.instructions):
        if values["opcode"] == Opcode.LINEAR:
            assert values["address"] % 32 == 0 and len(program.columns[pc]) in (1, MODEL.layers)
            assert (
                max(p.groups for p in program.columns[pc])
                == values["groups"]
                >= values["block"]
                > 0
            )


READS = {Source.STATE: "STATE", Source.CLS: "STATE", Source.NORMED: "NORMED", Source.CODES: "CODES"}
# What a follower may read while the operation before still writes it: hw/datapath.py holds it back.
FOLLOWED = {
    (Opcode.LINEAR, Opcode.LINEAR): {"CODES"},
    (Opcode.LINEAR, Opcode.NORM): {"SUM"},
    (Opcode.NORM, Opcode.LINEAR): {"STATE", "NORMED"},
}


def buffers(values):
    """(read, written) buffers of a LINEAR or NORM."""
    read = (
        {READS[values["source"]]}
        if values["opcode"] == Opcode.LINEAR or values.get("residual")
        else set()
    )
    if values["opcode"] == Opcode.NORM and not values.get("skip_sum"):
        read.add("SUM")
    return read, {Target(values["target_buffer"]).name}


@pytest.mark.parametrize("case", ["ci", "odd_lanes", "no_units"])
def test_followers(case):
    """A follower reads only what the operation before writes in the order in which it is read."""
    hardware, fmt, options = CASES[case]
    program = compile_network(network(fmt, **options), hardware)
    names = set()
    for pc, values in enumerate(program.instructions):
        if not values.get("follow"):
            continue
        before = program.instructions[pc - 1]
        pair = before["opcode"], values["opcode"]
        assert pair in FOLLOWED, f"instruction {pc}"
        (read, written), (reads, writes) = buffers(before), buffers(values)
        assert reads & written <= FOLLOWED[pair] and not writes & (read | written), (
            f"instruction {pc}"
        )
        assert before["select"] == values["select"] or "STATE" in reads and values.get("cls"), (
            "its tiles are not those that are written"
        )
        names.add(program.symbols[pc].tensor)
        if reads & written & {"CODES", "NORMED"}:
            assert all(
                before.get(f"target_{name}", 0) == values.get(f"source_{name}", 0)
                for name in ("base", "stride")
            )
        if reads & written & {"CODES"}:
            for packed in program.columns[pc - 1]:
                groups = unpack_columns(
                    packed.data, hardware.columns, hardware.bus_bytes, packed.groups, packed.rows
                )
                places = [
                    column.destination
                    for lanes in groups
                    for column in lanes
                    if column.destination != PADDING
                ]
                assert places == list(range(values["reduction"])), (
                    "columns leave in another order than that of their words"
                )
            assert before.get("cls", 0) == values.get("cls", 0)
        if reads & written & {"SUM"}:
            (packed,) = program.columns[pc - 1]
            portions = [
                sorted(packed.slots[at : at + PORTION].flatten())
                for at in range(0, packed.groups, PORTION)
            ]
            features = [feature for portion in portions for feature in portion if feature >= 0]
            assert features == list(range(values["reduction"])), (
                "portions of the features are not in order"
            )
    assert {
        "layer{l}.k",
        "layer{l}.v",
        "layer{l}.attention_norm",
        "layer{l}.hidden",
        "layer{l}.ffn",
        "layer{l}.feed_forward_norm",
    } <= names


def test_images_pass_their_checks(tmp_path):
    program = compile_network(network(), CI)
    image = parse_image(program.image)
    check_image(image, CI, parse_embedding(program.embedding))
    assert [name for i, name in enumerate(UNITS) if image.units >> i & 1] == [
        "span",
        "drop",
        "exit",
    ]
    (tmp_path / "image").write_bytes(program.image)
    assert "ATTEND select=ALL" in show(tmp_path / "image")


def test_context_and_values_are_permutations():
    program = compile_network(network(dead_heads=1), CASES["odd_lanes"][0])
    by_name = {symbol.tensor: symbol for symbol in program.symbols if symbol}
    live, head = 3, MODEL.head
    assert sorted(by_name["layer{l}.context"].features) == list(range(live * head))
    values = by_name["layer{l}.v"].features
    assert values.shape == (live * 3, 5) and sorted(values[values >= 0]) == list(range(live * head))


def test_limit_is_below_the_schedule():
    program = compile_network(network(), CI)
    found = limit(program, [9, 14])
    assert {entry.name for entry in found} >= {"q", "context", "hidden", "ffn", "logits"}
    for entry in found:
        assert (
            0 < entry.compute <= entry.schedule
            and entry.memory * CI.bus_bytes == entry.memory_bytes
        )
    (up,) = (entry for entry in found if entry.name == "hidden")
    codes = program.columns[up.pc][0].nonzeros
    assert up.compute == codes.sum() * 6 / 4 and up.tiles == 6
    assert [entry.tiles for entry in found if entry.select == Select.LAST] == [1, 1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hidden": 32}, "hidden must be at most 32, not 48"),
        ({"feed_forward": 48}, "feed_forward must be at most 48, not 64"),
        ({"layers": 2}, "layers must be at most 2, not 3"),
        ({"heads": 3}, "live heads must be at most 3, not 4"),
        ({"classes": 2}, "classes must be at most 2, not 3"),
        ({"positions": 8}, "positions must be at most 8, not 16"),
        ({"format": INT8}, "format must be int8, not AdaptivFloat<8,3>"),
        ({"units": {"drop", "exit"}}, "unit span must be present: a head's span is partial"),
        (
            {"units": {"span", "exit"}},
            "unit drop must be present: eta is above 0, so tokens are dropped",
        ),
        ({"units": {"span", "drop"}}, "unit exit must be present: the exit threshold is above 0"),
    ],
)
def test_network_that_does_not_fit(change, text):
    """What is wrong is told, and a configuration that holds the network is found."""
    hardware = dataclasses.replace(HardwareConfig(**SMALL), **change)
    with pytest.raises(CompileError, match=text):
        compile_network(network(), hardware)
    compile_network(network(), enlarged(network(), hardware))


def test_nothing_is_enlarged_that_fits():
    assert enlarged(network(), HardwareConfig(**SMALL)) == HardwareConfig(**SMALL)


def test_every_reason_is_listed():
    hardware = dataclasses.replace(HardwareConfig(**SMALL), hidden=32, layers=2, units=set())
    assert len(problems(network(), hardware)) == 5


def test_early_exit_without_the_unit():
    net, bare = CASES["no_units"][2], CASES["no_units"][0]
    with pytest.raises(CompileError, match="unit exit must be present for early_exit=True"):
        compile_network(network(**net), bare, early_exit=True)


def test_accumulator_overflow():
    net = network()
    down = net.linears["feed_forward.down"]
    loud = dataclasses.replace(down, bias=down.bias + 2**40)
    net = dataclasses.replace(net, linears=net.linears | {"feed_forward.down": loud})
    with pytest.raises(
        CompileError,
        match=r"sums of feed_forward\.down must fit the accumulator's 34 bits, not reach 2\^40",
    ):
        compile_network(net, CI)


def test_shift_out_of_range():
    net = dataclasses.replace(network(), score_shift=-3)
    with pytest.raises(
        CompileError,
        match=r"ATTEND does not fit an instruction: "
        r"Instruction field shift must be in 0\.\.63, not -3",
    ):
        compile_network(net, CI)
