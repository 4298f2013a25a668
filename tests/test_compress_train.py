# SPDX-License-Identifier: Apache-2.0
"""The whole recipe on a toy task: files in, checkpoint out, and again after an interruption."""

import json
import random

import pytest
import torch

from compress import data, tokenizer
from compress.loop import Loop
from golden_model.checkpoint import load
from golden_model.config import AF8, MODELS
from golden_model.model import run
from golden_model.quantize import quantize

GOOD, BAD = "fine great warm funny sweet".split(), "dull awful cold boring sour".split()
FILL = "the film a plot of and story".split()


def toy(path, count, draw, longest=10):
    lines = ["sentence\tlabel"]
    for _ in range(count):
        label = draw.randrange(2)
        words = [draw.choice(FILL) for _ in range(draw.randint(3, longest))]
        words.insert(draw.randrange(len(words)), draw.choice(GOOD if label else BAD))
        lines.append(f"{' '.join(words)}\t{label}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("toy"), random.Random(1)
    toy(folder / "sst2" / "train.tsv", 160, draw)
    toy(folder / "sst2" / "dev.tsv", 24, draw)
    toy(folder / "imdb" / "train.tsv", 12, draw, longest=40)
    toy(folder / "imdb" / "test.tsv", 12, draw, longest=40)
    return folder


class Interrupted(Exception):
    pass


def test_recipe_end_to_end_and_after_an_interruption(folder, tmp_path, monkeypatch):
    """The recipe reaches its sparsities; interrupted and resumed, it gives the same tensors."""
    recipe = train.Recipe(held=16, scale=1.0)
    log = []

    def make(out):
        return train.train("sst2", folder, out, model="nano", recipe=recipe, log=log.append)

    metrics = make(tmp_path / "whole")
    assert metrics["encoder_sparsity"] >= 0.6 and metrics["embedding_sparsity"] >= 0.6
    assert metrics["dead_heads"] >= 1 and metrics["rows"] == 24
    one = Loop._one

    def stop(loop):
        if loop.stage.name == "reduce" and loop.step == 2:
            raise Interrupted
        one(loop)

    monkeypatch.setattr(Loop, "_one", stop)
    with pytest.raises(Interrupted):
        make(tmp_path / "parts")
    monkeypatch.setattr(Loop, "_one", one)
    assert make(tmp_path / "parts") == metrics
    whole, parts = load(tmp_path / "whole"), load(tmp_path / "parts")
    for name, value in whole.tensors.items():
        assert torch.equal(value, parts[name]), name
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    out = tmp_path / "whole"
    assert config["command"] == f"terse train --task sst2 --data {folder} --out {out}"
    encoding = tokenizer.load_tokenizer(tmp_path / "whole", MODELS["nano"].positions).encode(
        "a warm film"
    )
    assert run(quantize(whole, AF8), encoding.ids, encoding.segments).predicted_class in (0, 1)
    assert len(data.read_split(tmp_path / "whole", "sst2", "samples")) <= 64
