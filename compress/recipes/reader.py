# SPDX-License-Identifier: Apache-2.0
"""A recipe's file: read, and checked whole before anything runs.

Every complaint names the file, the line and the rule; all of them are collected, so that one look
finds them all.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from compress.data.tasks import find_task
from compress.methods import METHODS
from compress.recipes.checks import check_flag, check_number
from compress.recipes.recipe import FOLDERS, Cut, Pieces, Recipe, RecipeError, Stage, Start, Teach
from compress.recipes.rules import check_cut, stage_rules
from compress.recipes.sweep import variants
from compress.recipes.toml_lines import Lines
from compress.teachers.pretrained import ENCODERS
from golden_model.config import MODELS, ModelConfig, brief

__all__ = ["read_recipe", "read_recipes"]


def read_recipe(
    path: str | Path, data_dir: str | Path | None = None, task: str = "", default: str = ""
) -> Recipe:
    """The recipe of a file without a sweep; RecipeError tells all that is wrong with it.

    data_dir : folder of tasks, where the recipe is to be held against the data
    task : instead of the recipe's own, also of the recipes that it names
    default : the task of a recipe that names none
    """
    found = read_recipes(path, data_dir, task, default)
    if len(found) > 1:
        raise RecipeError(f"{path} must be one recipe, not a sweep of {len(found)}")
    return next(iter(found.values()))


def read_recipes(
    path: str | Path, data_dir: str | Path | None = None, task: str = "", default: str = ""
) -> dict[str, Recipe]:
    """The recipes of a file by the values that its sweep gives them; arguments as of `read_recipe`.

    One recipe is named "". RecipeError tells all that is wrong with any of them.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} must be TOML in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}") from error
    if task or (default and "task" not in values):
        values["task"] = task or default
    lines, recipes, wrong = Lines(text), {}, {}
    for label, one in variants(values).items():
        reader = _Reader(path, one, lines, task)
        try:
            recipes[label] = reader.recipe()
            if data_dir is not None:
                reader.hold_against(recipes[label], data_dir)
        except RecipeError as error:
            wrong |= dict.fromkeys(str(error).split("\n"))
    if wrong:
        raise RecipeError("\n".join(wrong))
    return recipes


class _Reader:
    """Reads the values of a recipe and collects what is wrong with them."""

    def __init__(self, path, values, lines, task):
        self.path, self.values, self.lines, self.instead = path, values, lines, task
        self.wrong = []

    def complain(self, place, rule):
        """Note that what stands at a place (keys, and numbers in lists) breaks a rule."""
        self.wrong.append((self.lines.of(place), rule))

    def recipe(self):
        """The Recipe, checked as far as it can be without data."""
        known = {"task", "model", "seeds", "held", "dense", "words", "start", "stage"}
        self.only((), self.values, known)
        values = {
            "task": self.task(),
            "instead": self.instead,
            "model": self.model(),
            "encoder": self.encoder(),
            "seeds": self.seeds(),
            "words": self.table(Pieces, ("words",), texts=self.cuts),
            "start": self.start(),
            "stages": self.stages(),
        }
        if "held" in self.values:
            values["held"] = self.values["held"]
            self.check(("held",), check_number, "held", values["held"], 8, 100000, True)
        if "dense" in self.values:
            values["dense"] = self.values["dense"]
            self.check(("dense",), check_flag, "dense", values["dense"])
        self.end()
        return Recipe(self.path, **values)

    def end(self):
        """Raise RecipeError where there was something to complain of."""
        if self.wrong:
            lines = (f"{self.path} line {line}: {rule}" for line, rule in sorted(self.wrong))
            raise RecipeError("\n".join(dict.fromkeys(lines)))

    def hold_against(self, recipe, data_dir):
        """Complain of what does not go together with the data and with the teachers."""
        task = self.check(("task",), find_task, recipe.task, data_dir)
        model = self.values.get("model")
        asked = model.get("classes") if isinstance(model, dict) else None
        if task and asked not in (None, task.classes):
            self.complain(
                ("model", "classes"),
                f"classes must be {task.classes}, the labels of {task.name}, not {asked}",
            )
        cuts: list[tuple[tuple, tuple[Cut, ...], bool]] = [
            (("words", "texts"), recipe.words.texts, False),
            (("start", "texts"), recipe.start.texts, False),
        ]
        for i, stage in enumerate(recipe.stages):
            cuts.append((("stage", i, "rows"), stage.rows, True))
            if stage.teacher and stage.teacher.recipe:
                self.check(("stage", i, "teacher"), self.teacher, stage, recipe, data_dir)
        for place, several, trained in cuts if task else ():
            for cut in several:
                self.check(place, check_cut, cut, task, data_dir, trained)
        if recipe.start.origin == "encoder":
            self.check(("start", "path"), self.beside, recipe.start.path)
        elif recipe.start.path and not Path(recipe.start.path).is_dir():
            self.complain(("start", "path"), f"path must be a folder, not {recipe.start.path}")
        self.end()

    def beside(self, name):
        """The path of another recipe."""
        path = self.path.parent / name
        if not path.is_file():
            raise ValueError(f"path must name a recipe beside this one, {path} is missing")
        return path

    def teacher(self, stage, recipe, data_dir):
        """Raise ValueError unless the teacher's recipe can teach this stage."""
        other = read_recipe(self.beside(stage.teacher.recipe), data_dir, self.instead, recipe.task)
        if other.task != recipe.task:
            raise ValueError(f"teacher must be of the task {recipe.task}, not {other.task}")

    def check(self, place, function, *arguments):
        """What the function returns; its complaint at this place, and None, where it raises."""
        try:
            return function(*arguments)
        except (TypeError, ValueError) as error:
            self.complain(place, str(error))
            return None

    def only(self, place, values, known):
        for name in values:
            if name not in known:
                self.complain(
                    (*place, name),
                    f"key must be one of {', '.join(sorted(known))}, not {brief(name)}",
                )

    def get(self, place):
        values: Any = self.values
        for step in place:
            values = values[step] if isinstance(step, int) else values.get(step, {})
        return values

    def table(self, kind, place, **special):
        """The dataclass `kind` from the table at `place`; `special` keys have their own readers."""
        values = self.get(place)
        if not isinstance(values, dict):
            self.complain(place, f"{place[-1]} must be a table, not {brief(values)}")
            return None
        names = {one.name for one in dataclasses.fields(kind)}
        self.only(place, values, names)
        found = {}
        for name, value in values.items():
            if name in special:
                found[name] = special[name]((*place, name), value)
            elif name in names:
                found[name] = value
        try:
            return kind(**found)
        except (TypeError, ValueError) as error:
            word = str(error).split(" ")[0]
            self.complain((*place, word) if word in values else place, str(error))
            return None

    def task(self):
        task = self.values.get("task")
        if not isinstance(task, str) or not task:
            rule = f"task must name a task or a path, here or with --task, not {brief(task)}"
            self.complain(("task",), rule)
        return task

    def start(self):
        """Where it starts; a folder is found from the recipe's own."""
        start = self.table(Start, ("start",), texts=self.cuts)
        if start and start.origin in FOLDERS:
            return dataclasses.replace(start, path=str(self.path.parent / start.path))
        return start

    def seeds(self):
        seeds = self.values.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds:
            self.complain(("seeds",), f"seeds must be a list of numbers, not {brief(seeds)}")
            return ()
        for seed in seeds:
            self.check(("seeds",), check_number, "seeds", seed, 0, 1 << 31, True)
        return tuple(seeds)

    def model(self):
        """A named model, or a table with sizes and maybe `like`, the model they differ from."""
        model = self.values.get("model")
        start = self.values.get("start")
        if isinstance(start, dict) and start.get("origin") in FOLDERS:
            if model is not None:
                self.complain(("model",), "model must be left out, its folder says it")
            return None
        if isinstance(model, str):
            self.known_model(("model",), model)
            return (MODELS | ENCODERS).get(model)
        if not isinstance(model, dict):
            self.complain(("model",), f"model must be a name or a table, not {brief(model)}")
            return None
        model = dict(model)
        like = model.pop("like", "tiny")
        self.known_model(("model", "like"), like)
        names = {one.name for one in dataclasses.fields(ModelConfig)}
        self.only(("model",), model, names | {"like"})
        sizes = (MODELS | ENCODERS).get(like)
        if sizes is None or not model.keys() <= names:
            return None
        return self.check(("model",), lambda: dataclasses.replace(sizes, **model))

    def encoder(self):
        model = self.values.get("model")
        like = model.get("like") if isinstance(model, dict) else model
        return like if isinstance(like, str) and like in ENCODERS else ""

    def known_model(self, place, name):
        known = (*MODELS, *ENCODERS)
        if name not in known:
            self.complain(place, f"model must be one of {', '.join(known)}, not {brief(name)}")

    def cuts(self, place, values):
        """Rows: a list of tables, or of names like "train" and "imdb/unsup"."""
        if not isinstance(values, list) or not values:
            self.complain(place, f"{place[-1]} must be a list of rows, not {brief(values)}")
            return ()
        return tuple(self.cut((*place, i), value) for i, value in enumerate(values))

    def cut(self, place, value):
        if isinstance(value, str):
            task, _, split = value.rpartition("/")
            return self.check(place, Cut, task, split)
        return self.table(Cut, place)

    # Stages.
    def stages(self):
        stages = self.values.get("stage")
        if not isinstance(stages, list) or not stages:
            self.complain(("stage",), "recipe must have a [[stage]]")
            return ()
        seen = {}
        for i in range(len(stages)):
            if isinstance(stages[i], dict):
                self.stage(("stage", i), seen)
            else:
                self.complain(("stage",), "stage must be a table, [[stage]]")
        return tuple(seen.values())

    def stage(self, place, seen):
        """Read one stage into `seen`, which has those before it."""
        values = self.get(place)
        names = {one.name for one in dataclasses.fields(Stage)} - {"methods"}
        self.only(place, values, names | METHODS.keys())
        found = {name: value for name, value in values.items() if name in names}
        if "rows" in found:
            found["rows"] = self.cuts((*place, "rows"), found["rows"])
        if "teacher" in found:
            found["teacher"] = self.table(Teach, (*place, "teacher"))
        if isinstance(found.get("frozen"), list):
            found["frozen"] = tuple(found["frozen"])
        methods = {
            name: self.table(METHODS[name].Settings, (*place, name))
            for name in values
            if name in METHODS
        }
        try:
            stage = Stage(**found, methods=methods)
        except (TypeError, ValueError) as error:
            text = str(error)
            if "missing" in text:
                text = "stage must have a name"
            word = text.split(" ")[0]
            self.complain((*place, word) if word in values else place, text)
            return
        for keys, rule in stage_rules(stage, seen, bool(self.encoder())):
            self.complain((*place, *keys), rule)
        seen[stage.name] = stage
