# SPDX-License-Identifier: Apache-2.0
"""What a hub has, as files of ours: from folders on this disk, which stand for names."""

import sys
import types

import pytest
import torch
from tokenizers import Tokenizer, models

from compress.data.tasks import find_task
from compress.data.text_files import DataError
from compress.huggingface import hub
from compress.huggingface.albert import read_albert
from tests.albert import save_albert


class Split(list):
    """Rows as `datasets.Dataset` gives them: dicts, with names of columns and of classes."""

    def __init__(self, rows, names=None):
        super().__init__(rows)
        self.column_names = list(rows[0])
        self.features = {"label": types.SimpleNamespace(names=names), "class": None}


@pytest.fixture
def loads(monkeypatch):
    """Have `datasets.load_dataset` return what stands in the list."""
    found = []
    module = types.ModuleType("datasets")
    module.__spec__ = types.SimpleNamespace()
    module.load_dataset = lambda name, config: found[0]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return found


def test_data(loads, tmp_path):
    """Splits become files that `find_task` reads; names of classes are kept, -1 is no label."""
    names = ["bad", "good"]
    rows = [{"text": f"some\tfilm\n{i}", "label": i % 2} for i in range(20)]
    blind = [{"text": "a film", "label": -1}]
    loads.append({"train": Split(rows, names), "validation": Split(rows[:4], names)})
    loads[0]["test"] = Split(blind, names)
    assert hub.fetch_data("films", None, tmp_path / "films") == ["train", "dev"]
    task = find_task("films", tmp_path)
    assert task.labels == ("bad", "good") and len(task.rows("dev")) == 4
    assert task.rows("train")[3].sentence == "some film 3" and task.rows("train")[3].label == 1


def test_pairs_with_numbers(loads, tmp_path):
    rows = [{"premise": "a", "hypothesis": "b", "idx": i, "label": i % 3} for i in range(9)]
    loads.append({"train": Split(rows)})
    hub.fetch_data("pairs", "some", tmp_path / "pairs")
    task = find_task("pairs", tmp_path)
    assert task.pair and task.labels == ("0", "1", "2")


def test_data_that_is_none(loads, tmp_path):
    loads.append({"train": Split([{"image": 1, "label": 0}])})
    with pytest.raises(DataError, match="Data set x must have the columns .*; it has image, label"):
        hub.fetch_data("x", None, tmp_path / "x")
    loads.clear()
    with pytest.raises(DataError, match="Data set x cannot be loaded: list index out of range"):
        hub.fetch_data("x", None, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need datasets: pip install 'terse\[hub\]'"):
        hub.fetch_data("x", None, tmp_path)


def test_model_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="Model .*none cannot be loaded"):
        hub.fetch_model(str(tmp_path / "none"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_model(tmp_path):
    """A folder stands for a name: its weights and its tokenizer arrive where they can be taken."""
    save_albert(tmp_path / "there")
    (tmp_path / "there" / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}'
    )
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.save(str(tmp_path / "there" / "tokenizer.json"))
    hub.fetch_model(str(tmp_path / "there"), tmp_path / "here")
    one, other = (read_albert(tmp_path / name, 32).tensors() for name in ("there", "here"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "here" / "tokenizer.json").is_file()
