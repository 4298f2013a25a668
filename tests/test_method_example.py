# SPDX-License-Identifier: Apache-2.0
"""The worked example of docs/compress.md: a method in one file and one line."""

import re
from pathlib import Path

import pytest

from compress.methods import METHODS
from compress.recipes.recipe import RecipeError
from compress.recipes.result import write_result
from golden_model.checkpoint import load
from tests.recipes import TOY, toy_data, toy_run

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compress.md"


@pytest.fixture
def clip(monkeypatch):
    """The example's class, in the registry."""
    (source,) = re.findall(r"```python\n(# SPDX.*?)```", PAGE.read_text(), re.DOTALL)
    namespace = {"__name__": "compress.methods.clip"}
    exec(compile(source, "clip.py", "exec"), namespace)
    monkeypatch.setitem(METHODS, "clip", namespace["Clip"])


def test_example(clip, tmp_path):
    """It is at work from its stage on, in the checkpoint too; its settings are checked."""
    data = toy_data(tmp_path / "data")
    recipe = TOY.replace("[stage.magnitude]", "[stage.magnitude]\n\n[stage.clip]\nmost = 1.5")
    write_result(toy_run(tmp_path, data, recipe), tmp_path / "out", "")
    for name, weight in load(tmp_path / "out").tensors.items():
        if name.startswith("feed_forward") and name.endswith("weight"):
            assert weight.abs().max() < 2.5 * weight.square().mean().sqrt(), name
    with pytest.raises(RecipeError, match=r"line \d+: most must be a number in 1..100, not 0"):
        toy_run(tmp_path, data, recipe.replace("1.5", "0"))
