# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is written, read again, and refused in one line where a part of it is wrong."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from golden_model.checkpoint import RANGES, Checkpoint, CheckpointError, load, tensor_shapes
from golden_model.config import AF8, INT8, MODELS
from golden_model.dvfs import BINS
from golden_model.quantize import quantize

NANO = MODELS["nano"]
TABLE = [1 + i % NANO.layers for i in range(BINS)]


def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(shape, generator=generator) for name, shape in tensor_shapes(NANO).items()
    }


def complete(**changes):
    """A checkpoint of random tensors that could be quantized."""
    parts = dict(ranges=dict.fromkeys(RANGES, 2.5), exit_threshold=0.25, dvfs_table=TABLE)
    return Checkpoint(NANO, tensors(), **parts | changes)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    complete().save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "copy")


def refused(folder, message):
    """Neither read nor said in more than one line."""
    with pytest.raises(CheckpointError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def configure(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Good ones.


def test_save_and_load(tmp_path):
    labels = ("bad", "gut", "très bien")
    checkpoint = complete(metrics={"a": 1}, command="x", labels=labels, format=INT8)
    checkpoint.save(tmp_path)
    again = load(tmp_path)
    assert again.model == NANO and again.ranges == checkpoint.ranges
    assert (again.exit_threshold, again.dvfs_table, again.command) == (0.25, TABLE, "x")
    assert (again.metrics, again.labels, again.format) == ({"a": 1}, labels, INT8)
    assert all(torch.equal(again[name], checkpoint[name]) for name in checkpoint.tensors)


def test_older_checkpoints_are_of_adaptivfloat(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["format"], config["labels"]
    path.write_text(json.dumps(config), encoding="utf-8-sig")
    assert (load(folder).format, load(folder).labels) == (AF8, None)


def test_half_keeps_zeros(tmp_path):
    checkpoint = complete()
    checkpoint["attention.query.weight"][:, ::2] = 0
    checkpoint.save(tmp_path, torch.float16)
    weight = load(tmp_path)["attention.query.weight"]
    assert weight.dtype == torch.float32 and bool((weight[:, ::2] == 0).all())


def test_dense():
    given = tensors()
    given["dense.pooler.bias"] = torch.full((32,), 7.0)
    dense = Checkpoint(NANO, given, labels=("a", "b", "c"), format=INT8).dense()
    assert torch.equal(dense["pooler.bias"], torch.full((32,), 7.0))
    assert not dense["eta"].any() and bool((dense["attention.span"] == 1).all())
    assert (dense.labels, dense.format) == (("a", "b", "c"), INT8)


# Tensors.


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [*tensor_shapes(NANO), "dense.pooler.weight"])
def test_one_value_is_not_finite(name, wrong):
    given = tensors()
    given["dense.pooler.weight"] = given["pooler.weight"].clone()
    given[name].view(-1)[-1] = wrong
    with pytest.raises(CheckpointError, match=f"{name} must hold finite numbers only, not {wrong}"):
        Checkpoint(NANO, given)


def test_damage_after_reading_is_found_before_integers_are_made():
    checkpoint = complete()
    checkpoint["classifier.bias"][0] = math.nan
    with pytest.raises(CheckpointError, match=r"classifier.bias must hold finite numbers only"):
        quantize(checkpoint, AF8)
    checkpoint = complete()
    checkpoint.ranges["x"] = math.nan
    with pytest.raises(CheckpointError, match=r"Range of x must be a number in 0..2\^30, not nan"):
        quantize(checkpoint, AF8)
    with pytest.raises(CheckpointError, match="Range of x must be"):
        checkpoint.save("unused")


@pytest.mark.parametrize("wrong", [2e9, -3e38])
def test_values_that_no_format_holds(wrong):
    given = tensors()
    given["attention.norm.gamma"][3] = wrong
    with pytest.raises(
        CheckpointError, match=r"attention.norm.gamma must be in -2\^30..2\^30, not"
    ):
        Checkpoint(NANO, given)


@pytest.mark.parametrize("name", ["eta", "attention.span"])
@pytest.mark.parametrize("wrong", [-0.01, 1.01, 300.0])
def test_shares(name, wrong):
    given = tensors()
    given[name].view(-1)[1] = wrong
    with pytest.raises(CheckpointError, match=f"Tensor {name} must be in 0..1, not {wrong:g}"):
        Checkpoint(NANO, given)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"eta": torch.zeros(4)}, r"Tensor eta must have shape \(3,\), not \(4,\)"),
        ({"eta": torch.tensor(0.5)}, r"Tensor eta must have shape \(3,\), not \(\)"),
        ({"eta": torch.zeros(3, dtype=torch.int64)}, "Tensor eta must hold floats, not int64"),
        ({"eta": torch.zeros(3, dtype=torch.bool)}, "Tensor eta must hold floats, not bool"),
        ({"eta": torch.full((3,), 2.0).to(torch.float8_e4m3fn)}, "eta must be in 0..1, not 2"),
        ({"eta": "0.5"}, "Tensor eta must be a tensor, not '0.5'"),
        (
            {"pooler.bias": torch.full((32,), 1e300, dtype=torch.float64)},
            "pooler.bias must hold finite numbers only, not inf",
        ),
        ({"extra": torch.zeros(4)}, "only tensors of the contract, not 'extra'"),
        ({"dense.extra": torch.zeros(4)}, "only tensors of the contract, not 'dense.extra'"),
    ],
)
def test_wrong_tensors(change, message):
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(NANO, tensors() | change)


def test_missing_tensor(folder):
    path = folder / "model.safetensors"
    given = load_file(path)
    del given["eta"]
    save_file(given, path)
    refused(folder, "must have the tensor eta, it is missing")


# Files.


def test_damaged_weights(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:7], whole[:100], whole[:-5], b"\xff" * 64, b"{}", whole + b"x"):
        path.write_bytes(damaged)
        refused(folder, "model.safetensors cannot be read, it is damaged or truncated")


def test_missing_files(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    refused(folder, "must hold config.json and model.safetensors, model.safetensors is missing")
    refused(tmp_path / "nowhere", "config.json is missing")


@pytest.mark.parametrize(
    "text, message",
    [
        (b"", "config.json must be JSON"),
        (b"{", "config.json must be JSON"),
        (b"\xff\xfe{}", "config.json must be JSON"),
        (b"[" * 100_000, "config.json must be JSON, it is nested too deeply"),
        (b'{"model":' * 50_000, "config.json must be JSON, it is nested too deeply"),
        (b'{"exit_threshold": ' + b"1" * 5000 + b"}", "config.json must be JSON"),
        (b"[]", r"config.json must be a JSON object, not \[\]"),
        (b"null", "config.json must be a JSON object, not None"),
        (b'"text"', "config.json must be a JSON object, not 'text'"),
        (b"{}", "config.json must have the key model, it is missing"),
    ],
)
def test_config_is_no_object(folder, text, message):
    (folder / "config.json").write_bytes(text)
    refused(folder, message)


@pytest.mark.parametrize(
    "change, message",
    [
        ([], r"ModelConfig must be an object, not \[\]"),
        ({"layers": "3"}, "Layers must be an integer, not '3'"),
        ({"layers": 3.0}, "Layers must be an integer, not 3.0"),
        ({"layers": True}, "Layers must be an integer, not True"),
        ({"layers": None}, "Layers must be an integer, not None"),
        ({"layers": 0}, "Layers must be in 1..64, not 0; nearest: 1"),
        ({"hidden": [32]}, r"Hidden must be an integer, not \[32\]"),
        ({"hidden": 40}, "Hidden must be a multiple of 16, not 40; nearest: 48"),
        ({"heads": 5}, "Heads must divide hidden 32, not 5; nearest: 4"),
        ({"classes": -(10**100)}, r"Classes must be in 2..16, not -1000.*\.\.\..*; nearest: 2"),
        ({"activation": ["gelu"]}, r"Activation must be gelu or gelu_new, not \['gelu'\]"),
        ({"groups": 2}, "ModelConfig must have only the keys layers, .*, not 'groups'"),
        ({"vocabulary": 65}, r"embedding.word must have shape \(65, 16\), not \(64, 16\)"),
    ],
)
def test_wrong_model(folder, change, message):
    configure(folder, model=NANO.to_json() | change if isinstance(change, dict) else change)
    refused(folder, message)


def test_model_without_a_size(folder):
    model = NANO.to_json()
    del model["heads"]
    configure(folder, model=model)
    refused(folder, "ModelConfig must have the key heads, it is missing")


@pytest.mark.parametrize("name", RANGES)
def test_missing_range(folder, name):
    configure(folder, ranges={key: 1.0 for key in RANGES if key != name})
    refused(folder, f"Checkpoint must have a range of {name}, it is missing")


@pytest.mark.parametrize(
    "value, shown",
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-0.5, "-0.5"),
        (2.0**31, "2147483648.0"),
        (10**400, r"100.*\.\.\..*000"),
        ("1", "'1'"),
        (None, "None"),
        (True, "True"),
        ([1.0], r"\[1.0\]"),
    ],
)
def test_wrong_range(folder, value, shown):
    configure(folder, ranges=dict.fromkeys(RANGES, 1.0) | {"score": value})
    refused(folder, rf"Range of score must be a number in 0..2\^30, not {shown}")


def test_ranges_of_other_things(folder):
    configure(folder, ranges=dict.fromkeys(RANGES, 1.0) | {"attention.sum": 1.0})
    refused(folder, "Ranges must be of embed_sum, .*, not of 'attention.sum'")
    for wrong in ([], None, 3, "x"):
        configure(folder, ranges=wrong)
        refused(folder, "Ranges must be an object of numbers, not ")


@pytest.mark.parametrize(
    "value", [[0.2] * 3, None, "0.2", True, {}, math.nan, math.inf, -math.inf, -0.1]
)
def test_wrong_exit_threshold(folder, value):
    configure(folder, exit_threshold=value)
    refused(folder, "Exit threshold must be one number of nats for all layers, at least 0, not ")


@pytest.mark.parametrize(
    "table, message",
    [
        (TABLE[:-1], "DVFS table must have 64 entries, not 63"),
        ([], "DVFS table must have 64 entries, not 0"),
        ("1" * 64, "DVFS table must be a list of layers or null, not '111"),
        ({}, r"DVFS table must be a list of layers or null, not \{\}"),
        ([*TABLE[:-1], 0], "DVFS table entry 63 must be a layer in 1..3, not 0"),
        ([4, *TABLE[1:]], "DVFS table entry 0 must be a layer in 1..3, not 4"),
        ([1.0, *TABLE[1:]], "DVFS table entry 0 must be a layer in 1..3, not 1.0"),
        ([True, *TABLE[1:]], "DVFS table entry 0 must be a layer in 1..3, not True"),
        (["1", *TABLE[1:]], "DVFS table entry 0 must be a layer in 1..3, not '1'"),
        ([math.nan, *TABLE[1:]], "DVFS table entry 0 must be a layer in 1..3, not nan"),
    ],
)
def test_wrong_dvfs_table(folder, table, message):
    configure(folder, dvfs_table=table)
    refused(folder, message)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": ["a", "b"]}, r"Labels must be the names of 3 classes, not \('a', 'b'\)"),
        ({"labels": "abc"}, "Labels must be the names of 3 classes, not 'abc'"),
        ({"labels": {"0": "a"}}, "Labels must be the names of 3 classes, not {'0': 'a'}"),
        ({"labels": ["a", "b", 3]}, "Label must be printable text, not 3"),
        ({"labels": ["a", "b", " "]}, "Label must be printable text, not ' '"),
        ({"labels": ["a", "b", "\x1b[2J"]}, r"Label must be printable text, not '\\x1b\[2J'"),
        ({"format": None}, "NumberFormat must be an object, not None"),
        ({"format": "int8"}, "NumberFormat must be an object, not 'int8'"),
        ({"format": {"bits": "8"}}, "Bits must be an integer, not '8'"),
        ({"format": {"bits": 9, "exponent": 3}}, "Bits must be in 4..8, not 9; nearest: 8"),
        ({"format": {"scale": 1}}, "NumberFormat must have only the keys bits, exponent, not"),
        ({"metrics": []}, r"Metrics must be an object, not \[\]"),
        ({"command": 1}, "Command must be text, not 1"),
    ],
)
def test_wrong_remarks(folder, changes, message):
    configure(folder, **changes)
    refused(folder, message)


def test_replaced_parts_are_checked():
    with pytest.raises(CheckpointError, match="DVFS table must have 64 entries, not 2"):
        dataclasses.replace(complete(), dvfs_table=[1, 2])
