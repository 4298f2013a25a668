# SPDX-License-Identifier: Apache-2.0
"""The shipped models: what their pages say is what was measured, and they can be made again."""

import dataclasses
import json
import pathlib
import re

import pytest

from compress.recipes.reader import read_recipe
from golden_model.checkpoint import load

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/config.json"))
FIGURES = {
    "float": ("dense_accuracy", "{:.2f} %"),
    "compressed, golden integer model": ("golden_accuracy", "{:.2f} %"),
    "golden integer model": ("golden_accuracy", "{:.2f} %"),
    "live token-layers": ("golden_live_share", "{:.2%}"),
    "mean exit layer": ("golden_mean_exit_layer", "{:.2f}"),
    "zeros, encoder": ("encoder_sparsity", "{:.1%}"),
    "zeros, embeddings": ("embedding_sparsity", "{:.1%}"),
    "DVFS table's error": ("held_out_dvfs_error", "{:.2f}"),
    "error of always the mean": ("held_out_dvfs_error_of_mean", "{:.2f}"),
}
MB = 1 << 20


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_page_says_what_was_measured(folder):
    metrics = json.loads((folder / "config.json").read_text())["metrics"]
    text = (folder / "README.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", text, re.M)
    found = [(name, value) for name, value in rows if name in FIGURES]
    assert len(found) >= 2
    for name, value in found:
        key, shape = FIGURES[name]
        assert value.replace(" %", "%") == shape.format(metrics[key]).replace(" %", "%"), name
    lost, interval = (metrics.get(f"golden_lost_{name}", 0) for name in ("accuracy", "interval"))
    said = f"Compression costs {lost:.2f} points, with a 95 % interval of {interval:.2f} on"
    assert (said in " ".join(text.split())) == (metrics["encoder_sparsity"] > 0)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_made_by_its_recipe(folder):
    """The command names a recipe of this name, whose stages ran as they stand there."""
    checkpoint, account = load(folder), json.loads((folder / "run.json").read_text())
    command = f"terse compress recipes/{folder.name}.toml --out examples/{folder.name}"
    assert checkpoint.command == account["command"] == command
    assert command in (folder / "README.md").read_text()
    recipe = read_recipe(ROOT / "recipes" / f"{folder.name}.toml")
    stages = [dataclasses.asdict(stage) for stage in recipe.stages]
    assert json.loads(json.dumps(stages)) == account["recipe"]["stages"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_ships(folder):
    """Few bytes, with descent and licence."""
    assert (folder / "model.safetensors").stat().st_size <= 8 * MB
    assert "Apache License" in (folder / "NOTICE").read_text()
    assert "NOTICE" in (folder / "README.md").read_text()
