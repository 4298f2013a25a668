# SPDX-License-Identifier: Apache-2.0
"""The rows of a recipe: the task's own, held out ones, and cuts of other texts."""

from dataclasses import asdict
from functools import cached_property

import torch

from compress.data.holdout import HOLD_OUT_VERSION, hold_out
from compress.data.pairs import similar_pairs
from compress.data.rows import Examples
from compress.data.sentences import sentences
from compress.data.tasks import Row, find_task

__all__ = ["Corpus"]

PIECE_MIN = 16  # shortest tail of a text that still counts as a piece


class Corpus:
    """Rows by what a recipe says of them; everything is read once and on demand.

    Parameters
    ----------
    recipe : compress.recipes.recipe.Recipe
    data_dir : folder of tasks
    seed : of what is held out
    """

    def __init__(self, recipe, data_dir, seed):
        self._recipe, self._folder, self._seed = recipe, data_dir, seed
        self._tasks = {}
        self._rows = {}

    @cached_property
    def task(self):
        return self.find("")

    def find(self, name):
        """The task of a name, "" for the recipe's own."""
        name = name or self._recipe.task
        if name not in self._tasks:
            self._tasks[name] = find_task(name, self._folder)
        return self._tasks[name]

    @cached_property
    def split(self):
        """(rest, held) of the training rows."""
        task = self.task
        return hold_out(
            task.rows("train"), self._recipe.held, self._seed, task.parts_of_one_another
        )

    @property
    def held(self):
        return self.split[1]

    @cached_property
    def dev(self):
        return self.task.rows("dev")

    def rows(self, cuts):
        """The rows of several cuts behind each other; the task's own leave the held ones out."""
        return [row for cut in cuts for row in self._cut(cut)]

    @property
    def own_inputs(self):
        """What the task's own training and held-out rows follow from, for a fingerprint."""
        return {
            "task": self.task.digest(),
            "held": self._recipe.held,
            "hold_out": HOLD_OUT_VERSION,
            "seed": self._seed,
        }

    def inputs(self, cuts):
        """What the rows of some cuts follow from, for a fingerprint."""
        return [
            {
                **asdict(cut),
                **(self.own_inputs if self._is_own(cut) else {"task": self._digest(cut)}),
            }
            for cut in cuts
        ]

    def _digest(self, cut):
        return self.find(cut.task).digest()

    def _is_own(self, cut):
        """Whether a cut is of the task's own training rows, of which some are held out."""
        return cut.split == "train" and self.find(cut.task).file("train") == self.task.file("train")

    def _cut(self, cut):
        if cut not in self._rows:
            if self._is_own(cut):
                rows = self.split[0]
            else:
                rows = self.find(cut.task).rows(cut.split, labelled=cut.split != "unsup")
            if cut.cut == "sentences":
                rows = [Row(text, -1) for text in sentences(row.sentence for row in rows)]
            if cut.cut == "pairs":
                rows = _new_pairs(rows, self.held)
            self._rows[cut] = rows[: cut.most or None]
        return self._rows[cut]

    def encode_rows(self, rows, tokenizer, device: str | torch.device = "cpu"):
        """Examples of rows as they are."""
        return _examples(rows, _whole(rows, tokenizer), tokenizer, device)

    def encode(self, cuts, tokenizer, device: str | torch.device = "cpu"):
        """Examples of some cuts."""
        rows, sequences = [], []
        for cut in cuts:
            found = self._cut(cut)
            if cut.cut == "pieces":
                found, encoded = _pieces(found, tokenizer)
            else:
                encoded = _whole(found, tokenizer)
            rows += found
            sequences += encoded
        return _examples(rows, sequences, tokenizer, device)


def _new_pairs(rows, held):
    """Rows of new pairs of the rows' texts; none of a text that is held out."""
    kept_out = {text for row in held for text in (row.sentence, row.pair)}
    texts = [text for row in rows for text in (row.sentence, row.pair)]
    found = similar_pairs(text for text in texts if text not in kept_out)
    return [Row(one, -1, other) for one, other in found]


def _examples(rows, sequences, tokenizer, device):
    labels = [row.label for row in rows]
    return Examples(sequences, labels, tokenizer.positions, rows, device)


def _whole(rows, tokenizer):
    """(ids, segments) of every row."""
    return [(one.ids, one.segments) for one in tokenizer.encode_many(rows)]


def _pieces(rows, tokenizer):
    """(rows, sequences) of whole texts cut into parts that fit, each with its text's label."""
    size = tokenizer.positions - 2
    parts, sequences = [], []
    for row, ids in zip(rows, tokenizer.encode_whole(rows), strict=True):
        first, *middle, last = ids
        for start in range(0, len(middle), size):
            part = middle[start : start + size]
            if start and len(part) < PIECE_MIN:
                break
            sequences.append(([first, *part, last], [0] * (len(part) + 2)))
            parts.append(Row(tokenizer.decode(part), row.label))
    return parts, sequences
