# SPDX-License-Identifier: Apache-2.0
"""Weights of Hugging Face folders, however they were saved; each is read or refused in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.huggingface.albert import AlbertError, read_albert

INDEX = "model.safetensors.index.json"


@pytest.fixture
def tensors(albert):
    """The weights of `albert`, whose file is gone."""
    path = albert / "model.safetensors"
    found = load_file(path)
    path.unlink()
    return found


def refused(folder, message):
    with pytest.raises(AlbertError, match=message) as caught:
        read_albert(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def equal(folder, tensors):
    found = read_albert(folder).state
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def write_shards(folder, tensors, index=INDEX, save=save_file):
    """Two files and the index that names them."""
    names = sorted(tensors)
    suffix = ".bin" if "bin" in index else ".safetensors"
    places = {name: f"part-{i % 2}{suffix}" for i, name in enumerate(names)}
    for place in set(places.values()):
        save({name: tensors[name] for name in names if places[name] == place}, folder / place)
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return places


def test_pickle(albert, tensors):
    torch.save(tensors, albert / "pytorch_model.bin")
    equal(albert, tensors)


def test_shards(albert, tensors):
    write_shards(albert, tensors)
    equal(albert, tensors)


def test_pickled_shards(albert, tensors):
    write_shards(albert, tensors, "pytorch_model.bin.index.json", torch.save)
    equal(albert, tensors)


def test_names_without_prefix_and_old_names(albert, tensors):
    """As AlbertModel and TensorFlow's converter name them."""
    names = {name: name.removeprefix("albert.") for name in tensors}
    names = {
        name: new.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
        for name, new in names.items()
    }
    save_file({names[name]: tensors[name] for name in tensors}, albert / "model.safetensors")
    equal(albert, tensors)


class Malice:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "content",
    [{"a": Malice()}, [1, 2], {"a": 3}, {3: torch.zeros(1)}, {"state_dict": {}}, "text"],
)
def test_pickle_of_other_things(albert, tensors, content, capsys):
    torch.save(content, albert / "pytorch_model.bin")
    refused(albert, "pytorch_model.bin (cannot be read, it is damaged|must hold tensors by name)")
    assert "run" not in capsys.readouterr().out


def test_damaged_pickle(albert, tensors):
    path = albert / "pytorch_model.bin"
    torch.save(tensors, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[: len(whole) // 2], b"\x80\x02."):
        path.write_bytes(damaged)
        refused(albert, "cannot be read, it is damaged, truncated or holds more than tensors")


def test_no_weights(albert, tensors):
    refused(albert, "must hold the weights, as model.safetensors or pytorch_model.bin or in shards")


@pytest.mark.parametrize(
    "places, message",
    [
        (None, "weight_map must be an object of files, not None"),
        ({}, r"weight_map must be an object of files, not \{\}"),
        ([], r"weight_map must be an object of files, not \[\]"),
        ({"a": 3}, "'a' must be in a file beside, not 3"),
        ({"a": "../part-0.safetensors"}, "'a' must be in a file beside, not '../part-0.safetens"),
        ({"a": "part-7.safetensors"}, "names the file 'part-7.safetensors', it is missing"),
        ({"a": "part-0.safetensors"}, "part-0.safetensors must have the tensor a, it is missing"),
    ],
)
def test_wrong_index(albert, tensors, places, message):
    write_shards(albert, tensors)
    (albert / INDEX).write_text(json.dumps({"weight_map": places}))
    refused(albert, message)


def test_damaged_shards(albert, tensors):
    places = write_shards(albert, tensors)
    (albert / "part-1.safetensors").write_bytes(b"")
    refused(albert, "part-1.safetensors cannot be read, it is damaged or truncated")
    (albert / INDEX).write_text("[")
    refused(albert, "index.json must be JSON")
    write_shards(albert, {name: tensors[name] for name in places if "classifier" not in name})
    refused(albert, "must have the tensor classifier.weight, it is missing")
