# SPDX-License-Identifier: Apache-2.0
"""Recipes: what is wrong with one is said with file, line and rule, all of it at once."""

import pytest

from compress.recipes.reader import read_recipe, read_recipes
from compress.recipes.recipe import RecipeError
from compress.recipes.result_store import ResultStore
from compress.recipes.run import RecipeRun
from compress.recipes.toml_lines import Lines

GOOD = """task = "mine"
model = "nano"
held = 8

[[stage]]
name = "finetune"
epochs = 1.0

[stage.labels]
smoothing = 0.1

[[stage]]
name = "reduce"
teacher = { stage = "finetune" }

[stage.logits]
share = 0.5

[stage.magnitude]
zeros = 0.6
"""
# What is changed in GOOD, and the complaint: line and rule.
WRONG = {
    "unknown method": ("[stage.magnitude]", "[stage.magnitud]", 19, "key must be one of"),
    "unknown key": (
        "smoothing",
        "smooth",
        10,
        "one of last, share, smoothing, not 'smooth'",
    ),
    "sparsity": ("zeros = 0.6", "zeros = 1.2", 20, "zeros must be a number in 0..0.99, not 1.2"),
    "kind": ("share = 0.5", 'share = "half"', 17, "share must be a number in 0..100, not 'half'"),
    "model": ('"nano"', '"nana"', 2, "model must be one of nano, tiny"),
    "no teacher": ('teacher = { stage = "finetune" }\n', "", 15, "logits must have a teacher"),
    "no such teacher": (
        'stage = "finetune" }',
        'stage = "fine" }',
        14,
        "teacher must be an earlier stage (finetune), not 'fine'",
    ),
    "two teachers": ("{ stage", '{ recipe = "a.toml", stage', 14, "teacher must have one of"),
    "no parent": ("epochs = 1.0", 'parent = "start"', 7, "parent must be an earlier stage"),
    "name of the start": ('"finetune"', '"start"', 6, "name must not be 'start', which means"),
    "name again": ('"reduce"', '"finetune"', 13, "name must be new, not 'finetune' again"),
    "needs": ("[stage.magnitude]\nzeros = 0.6", "[stage.dvfs]", 19, "dvfs must have entropy in"),
    "no method": ("[stage.labels]\nsmoothing = 0.1\n", "", 5, "stage must have a method"),
    "no task": (
        'task = "mine"\n',
        "",
        1,
        "task must name a task or a path, here or with --task, not None",
    ),
    "dense": ("held = 8", "held = 8\ndense = 1", 4, "dense must be true or false, not 1"),
    "held": ("held = 8", "held = true", 3, "held must be a whole number in 8..100000, not True"),
    "not TOML": ("[[stage]]", "[[stage", 5, ""),
    "rows": ("epochs = 1.0", "rows = 5", 7, "rows must be a list of rows, not 5"),
    "frozen": ("epochs = 1.0", "frozen = [1]", 7, "frozen must be a list of names, not (1,)"),
    "encoder": ('model = "nano"', 'model = "minilm"', 19, "magnitude must not be with a pre-tr"),
    "saliency of another recipe": (
        'teacher = { stage = "finetune" }\n\n[stage.logits]',
        'teacher = { recipe = "a.toml" }\n\n[stage.adapler]',
        16,
        "adapler must have an earlier stage of this recipe as teacher",
    ),
    "split": ("epochs = 1.0", 'rows = ["imdb/trian"]', 7, "split must be one of train, dev"),
}


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def data(folder, name="mine", classes=2):
    (folder / name).mkdir()
    lines = [f"text {i}\t{i % classes}" for i in range(40)]
    (folder / name / "train.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder


def test_good_one(tmp_path):
    recipe = read_recipe(write(tmp_path, GOOD), data(tmp_path))
    assert [stage.name for stage in recipe.stages] == ["finetune", "reduce"]
    assert list(recipe.stages[1].methods) == ["logits", "magnitude"]
    assert recipe.stages[1].methods["magnitude"].zeros == 0.6


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_ones(tmp_path, kind):
    before, after, line, rule = WRONG[kind]
    assert before in GOOD
    path = write(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    assert any(
        f"{path}" in one and f"line {line}" in one and rule in one
        for one in str(error.value).split("\n")
    ), str(error.value)


def test_all_complaints_at_once(tmp_path):
    path = write(tmp_path, GOOD.replace("0.6", "7").replace("0.1", "-1").replace("nano", "x"))
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    assert [one.split(":")[0] for one in str(error.value).split("\n")] == [
        f"{path} line {line}" for line in (2, 10, 20)
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        (("mine", "yours"), "line 1: No task 'yours'"),
        (("epochs = 1.0", 'rows = ["other/train"]'), "line 7: No task 'other'"),
        (("epochs = 1.0", 'rows = ["mine/unsup"]'), "line 7: Task mine must have a unsup split"),
        (("epochs = 1.0", 'rows = ["mine/dev"]'), "line 7: rows must not be of mine/dev, which"),
        (("epochs = 1.0", 'rows = ["three/train"]'), "line 7: rows of three must have the labels"),
        (
            ("epochs = 1.0", 'rows = [{ cut = "pairs" }]'),
            "line 7: rows cut into pairs must be of a task of pairs, not mine",
        ),
        (('{ stage = "finetune" }', '{ recipe = "no.toml" }'), "line 14: path must name a recipe"),
        (
            ('model = "nano"', 'model = { like = "nano", classes = 3 }'),
            "line 2: classes must be 2, the labels of mine, not 3",
        ),
    ],
)
def test_against_the_data(tmp_path, change, message):
    path = write(tmp_path, GOOD.replace(*change, 1))
    data(tmp_path, "three", 3)
    with pytest.raises(RecipeError) as error:
        read_recipe(path, data(tmp_path))
    assert message in str(error.value)


def test_teacher_of_another_task(tmp_path):
    data(tmp_path)
    (tmp_path / "other.toml").write_text(
        'task = "other"\nmodel = "nano"\n[[stage]]\nname = "a"\n[stage.labels]\n'
    )
    (tmp_path / "other").mkdir()
    text = (tmp_path / "mine" / "train.tsv").read_text()
    (tmp_path / "other" / "train.tsv").write_text(text)
    path = write(tmp_path, GOOD.replace('{ stage = "finetune" }', '{ recipe = "other.toml" }'))
    with pytest.raises(RecipeError, match="line 14: teacher must be of the task mine, not other"):
        read_recipe(path, tmp_path)


def test_sweep(tmp_path):
    """A list of values is a recipe each; a wrong one among them is found on its line."""
    text = GOOD.replace("zeros = 0.6", "zeros = [0.5, 0.6]").replace("1.0", "[1.0, 2.0]")
    found = read_recipes(write(tmp_path, text), data(tmp_path))
    assert [*found] == [f"epochs={a} zeros={b}" for a in (1.0, 2.0) for b in (0.5, 0.6)]
    one = found["epochs=2.0 zeros=0.5"]
    assert one.stages[0].epochs == 2 and one.stages[1].methods["magnitude"].zeros == 0.5
    with pytest.raises(RecipeError, match="must be one recipe, not a sweep of 4"):
        read_recipe(tmp_path / "mine.toml")
    write(tmp_path, text.replace("0.5,", "5,"))
    with pytest.raises(RecipeError, match="line 20: zeros must be a number in 0..0.99, not 5$"):
        read_recipes(tmp_path / "mine.toml")


def test_sweep_of_one_key_in_two_stages(tmp_path):
    text = GOOD.replace("1.0", "[1.0, 2.0]").replace('"reduce"', '"reduce"\nepochs = [0.5]')
    assert [*read_recipes(write(tmp_path, text))] == [
        f"finetune.epochs={a} reduce.epochs=0.5" for a in (1.0, 2.0)
    ]


def test_task_of_the_teacher_follows(tmp_path):
    """A task asked for instead of the file's is that of the recipes it names, too."""
    data(data(tmp_path), "other")
    text = GOOD.replace('{ stage = "finetune" }', '{ recipe = "mine.toml" }')
    path = tmp_path / "student.toml"
    path.write_text(text)
    write(tmp_path, GOOD)
    read = read_recipe(path, tmp_path, task="other")
    assert (read.task, read.instead) == ("other", "other")
    run = RecipeRun(read, tmp_path, ResultStore(tmp_path / "store"))
    assert run.other("mine.toml").recipe.task == "other"


def test_task_of_a_recipe_without_one(tmp_path):
    """It is that of the recipe that names it."""
    text = GOOD.replace('{ stage = "finetune" }', '{ recipe = "any.toml" }')
    path = write(tmp_path, text)
    (tmp_path / "any.toml").write_text(GOOD.replace('task = "mine"\n', ""))
    read = read_recipe(path, data(tmp_path))
    run = RecipeRun(read, tmp_path, ResultStore(tmp_path / "store"))
    assert run.other("any.toml").recipe.task == "mine"
    with pytest.raises(RecipeError, match="here or with --task"):
        read_recipe(tmp_path / "any.toml")


def test_lines_of_keys():
    lines = Lines("a = 1\n[b]\nc = 2\n\n[[d]]\ne = 3\n[d.f]\ng = 4\n[[d]]\n[d.f]\ng = 5\n")
    assert [lines.of(place) for place in (("a",), ("b", "c"), ("d", 0, "e"))] == [1, 3, 6]
    assert lines.of(("d", 0, "f", "g")) == 8 and lines.of(("d", 1, "f", "g")) == 11
    assert lines.of(("b", "unknown")) == 2 and lines.of(("unknown",)) == 1
