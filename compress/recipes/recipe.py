# SPDX-License-Identifier: Apache-2.0
"""A recipe: what a TOML file says of how a model is made. docs/compress.md explains the keys."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.text_files import DataError
from compress.recipes.checks import check_names, check_settings
from golden_model.config import ModelConfig, brief

__all__ = [
    "FOLDERS",
    "START",
    "Cut",
    "Pieces",
    "Recipe",
    "RecipeError",
    "Stage",
    "Start",
    "Teach",
    "lineage",
]

FOLDERS = ("checkpoint", "huggingface")  # origins that bring sizes and vocabulary
STARTS = ("scratch", "vectors", "glove", "encoder", *FOLDERS)
SPLITS = ("train", "dev", "test", "unsup")
CUTS = ("whole", "pieces", "sentences", "pairs")
START = "start"  # what a teacher is called that is no stage but the first weights


class RecipeError(DataError):
    """What is wrong with a recipe, a line each: file, line, rule."""


@dataclass(frozen=True)
class Cut:
    """Rows of a split.

    Parameters
    ----------
    task : whose rows; "" is the recipe's own task
    split : train, dev, test or unsup (without labels)
    cut : whole (the longest are cut off), pieces (all that fits behind each other, each with its
        text's label), sentences (of FEWEST to MOST words, without label) or pairs (each text of a
        task of pairs beside those most like it, without label)
    most : rows at most, 0 for all
    """

    task: str = ""
    split: str = "train"
    cut: str = "whole"
    most: int = 0

    def __post_init__(self):
        check_settings(self, split=SPLITS, cut=CUTS, most=(0, 1 << 40))


@dataclass(frozen=True)
class Pieces:
    """The vocabulary, of the model's size: learned from rows, or cut from an encoder's.

    Parameters
    ----------
    origin : learned (Unigram pieces of the rows) or encoder (those of the WordPiece vocabulary of
        the pre-trained encoder that texts use most)
    texts : further rows to learn from
    """

    origin: str = "learned"
    texts: tuple[Cut, ...] = ()

    def __post_init__(self):
        check_settings(self, origin=("learned", "encoder"))


@dataclass(frozen=True)
class Start:
    """Where the weights come from.

    Parameters
    ----------
    origin : scratch, vectors (word vectors from co-occurrence), glove (those of GloVe 6B),
        checkpoint (a folder of ours), huggingface (an ALBERT classifier's folder) or encoder (the
        mean of a pre-trained encoder's layers, embeddings by SVD)
    path : the folder, for the two that need one; the recipe of a teacher, for the encoder; both are
        found from the recipe's own folder
    positions : longest sentence; 0 is 128 for a Hugging Face folder, a checkpoint's own for one of
        ours, whose table is repeated for more
    texts : rows that the word vectors see
    """

    origin: str = "scratch"
    path: str = ""
    positions: int = 0
    texts: tuple[Cut, ...] = ()

    def __post_init__(self):
        check_settings(self, origin=STARTS, positions=(0, 512))
        if self.origin in ("encoder", *FOLDERS) and not self.path:
            kind = "a recipe" if self.origin == "encoder" else "a folder"
            raise ValueError(f"path must name {kind} for origin {self.origin}")


@dataclass(frozen=True)
class Teach:
    """Who answers a stage's questions.

    Parameters
    ----------
    stage : an earlier stage, or START: the first weights
    recipe : another recipe, whose end it is
    """

    stage: str = ""
    recipe: str = ""

    def __post_init__(self):
        if bool(self.stage) == bool(self.recipe):
            raise ValueError("teacher must have one of the keys stage and recipe")


@dataclass(frozen=True)
class Stage:
    """One training stage; METHODS' tables stand beside its keys.

    Parameters
    ----------
    name : of the stage, once in a recipe
    parent : the stage whose weights it begins with; "" is the one before, or the start
    rows : what it trains on
    epochs, batch, rate, decay : passes over the rows, rows a step, learning rate, weight decay
    head_rate : learning rate of classifiers and poolers; 0 is that of everything else
    frozen : beginnings of names of parameters that stay as they are
    average : decay of the running mean of weights that is the result; 0 takes the last step's
    precision : of a forward pass without codes, float32 or bfloat16; auto is bfloat16 where the
        device is made for it
    teacher : who answers
    methods : {name: settings} of what is at work, in order
    """

    name: str
    parent: str = ""
    rows: tuple[Cut, ...] = (Cut(),)
    epochs: float = 1.0
    batch: int = 32
    rate: float = 1e-3
    decay: float = 0.01
    average: float = 0.999
    head_rate: float = 0.0
    frozen: tuple[str, ...] = ()
    precision: str = "float32"
    teacher: Teach | None = None
    methods: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        """Raise ValueError for a value that is none of its key's."""
        if not isinstance(self.name, str) or not self.name.replace("-", "").isalnum():
            raise ValueError(f"name must be letters, digits and -, not {brief(self.name)}")
        if self.name == START:
            raise ValueError(f"name must not be {START!r}, which means the first weights")
        check_settings(
            self,
            epochs=(0.001, 1000),
            batch=(1, 4096),
            rate=(1e-9, 1),
            decay=(0, 1),
            average=(0, 0.99999),
            head_rate=(0, 1),
            precision=("float32", "bfloat16", "auto"),
        )
        check_names("frozen", self.frozen)


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Parameters
    ----------
    path : the file it was read from
    task : name of a task in the data folder, or path of a folder or file of one's own
    instead : the task that was asked for instead of the file's, also for the recipes it names
    model : the sizes; None takes those of the folder that it starts from
    encoder : the pre-trained encoder that the network is, "" for an ALBERT of the machine's
    seeds : runs, one each
    held : rows kept from training for choosing thresholds
    dense : whether a compressed checkpoint also keeps the weights from before, for comparisons and
        further training; they take as much room again
    """

    path: Path
    task: str
    model: ModelConfig | None
    instead: str = ""
    encoder: str = ""
    seeds: tuple[int, ...] = (0,)
    held: int = 600
    dense: bool = True
    words: Pieces = Pieces()
    start: Start = Start()
    stages: tuple[Stage, ...] = ()


def lineage(stage: Stage, stages: Iterable[Stage]) -> list[Stage]:
    """The stage and those whose weights it goes on with, the first one first.

    stages : those of the recipe in order; what is not among them follows the last of them
    """
    order = list(stages)
    names = {one.name: one for one in order}
    found = [stage]
    while True:
        first = found[0]
        place = order.index(first) if first in order else len(order)
        parent = names.get(first.parent) if first.parent else order[place - 1] if place else None
        if parent is None:
            return found
        found.insert(0, parent)
