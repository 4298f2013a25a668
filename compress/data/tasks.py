# SPDX-License-Identifier: Apache-2.0
"""Tasks: labelled texts in files of TSV or CSV, of the data folder or a user's own.

A task is a folder DATA/TASK, the path of a folder or of one file, or DATA itself where splits lie
in it. A split is a file SPLIT.tsv, SPLIT.csv or either with .xz; `val` and `validation` are dev.
One header line names the columns of text and label; TSV has no quoting. Every complaint names the
file, the line and the rule.
"""

import csv
import functools
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from compress.data.holdout import cut
from compress.data.text_files import PAIRS, SINGLES, DataError, label_number, read_lines
from golden_model.config import brief

__all__ = ["LABELS", "Row", "Task", "find_task", "split_name"]

SPLITS = {"train": ("train",), "dev": ("dev", "val", "validation", "valid")}
SUFFIXES = (".tsv", ".csv", ".tsv.xz", ".csv.xz")
LABELS = ("label", "labels", "class", "target", "gold_label")
FEWEST_CLASSES, MOST_CLASSES = 2, 16  # of a model
DEV_SHARE, DEV_MOST = 0.1, 1000  # of the training rows, where there is no dev split
# SST-2's training rows are phrases of the same sentences.
PARTS_OF_ONE_ANOTHER = ("sst2",)


@dataclass(frozen=True)
class Row:
    """One example; `pair` is None for single sentences, `label` -1 where there is none.

    `extra` holds further columns by name.
    """

    sentence: str
    label: int = -1
    pair: str | None = None
    extra: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task and its files by split; rows are read when they are asked for.

    columns : of the text, one or two
    labels : names of the classes, in the order of their numbers
    """

    name: str
    files: dict
    columns: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.labels)

    @property
    def pair(self) -> bool:
        return len(self.columns) == 2

    @property
    def parts_of_one_another(self) -> bool:
        """Whether rows are parts of other rows' texts."""
        return self.name in PARTS_OF_ONE_ANOTHER

    def digest(self) -> str:
        """sha256 over the bytes of all its files."""
        return _digest(tuple(sorted(self.files.items())))

    def file(self, split: str) -> Path:
        """The file of a split, or a DataError that lists what is there."""
        if split in self.files:
            return self.files[split]
        raise DataError(
            f"Task {self.name} must have a {split} split; there is {', '.join(self.files)}"
        )

    def rows(self, split: str, labelled: bool = True) -> list[Row]:
        """All rows of a split in file order; without a dev split one is cut from train."""
        if split in ("train", "dev") and "dev" not in self.files:
            rows = self._read("train", True)
            rest, dev = cut(rows, min(DEV_SHARE, DEV_MOST / len(rows)), seed=0)
            if split == "dev" and not dev:
                raise DataError(
                    f"Task {self.name} must have a dev split, or rows enough for a tenth of them "
                    f"to become one; {self.file('train')} holds {len(rest)}"
                )
            return dev if split == "dev" else rest
        return self._read(split, labelled)

    def _read(self, split, labelled):
        path = self.file(split)
        return [
            self._row(fields, f"{path} line {number}", labelled)
            for number, fields in _records(path, self.columns, labelled)
        ]

    def _row(self, fields, where, labelled):
        texts = [fields.pop(name) for name in self.columns]
        if not all(text.strip() for text in texts):
            raise DataError(f"{where}: {' and '.join(self.columns)} must not be empty")
        label = -1
        if labelled:
            text = fields.pop(_label_column(fields))
            label = label_number(text, self.classes, where, self.labels)
        return Row(texts[0], label, texts[1] if self.pair else None, fields)


def find_task(
    name: str, data_dir: str | Path | None = None, labels: tuple[str, ...] | None = None
) -> Task:
    """The task of a name in the data folder, or of a path of one's own.

    labels : names of a model's classes; without them they are those of the training rows

    Raises DataError where there is none, or where its training rows cannot be used.
    """
    own = Path(name)
    folder = Path(data_dir or ".") / name
    if own.is_file():
        files = {"train": own}
    else:
        files = _splits(folder) or _splits(own)
    # A path that is not there is a slip, whatever its parent holds.
    if not files and own.name == name:
        files = _splits(folder.parent)
    if not files:
        raise DataError(
            f"No task {name!r}: looked for {folder}/train.tsv, .csv or with .xz; it is a folder in "
            "the data folder, or a path of one's own (--data or TERSE_DATA names the data folder, "
            "docs/data.md says what it holds)"
        )
    if labels is None:
        if "train" not in files:
            raise DataError(f"Task {name} must have a train split; there is {', '.join(files)}")
        columns, labels = _look(files["train"])
    else:
        first = next(iter(files.values()))
        columns = _text_columns(first, next(_records(first, None, False))[1])
    return Task(own.stem if own.exists() else name, files, columns, labels)


def _splits(folder):
    """{split: file} of a folder."""
    found = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else ():
            stem = path.name.removesuffix(suffix)
            found.setdefault(split_name(stem), path)
    return found


def split_name(name: str) -> str:
    """What a split is called here: `validation` and its like are dev, others keep their names."""
    return next((one for one, names in SPLITS.items() if name in names), name)


@functools.lru_cache
def _digest(files):
    digest = hashlib.sha256()
    for split, path in files:
        digest.update(split.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.lru_cache
def _look(path):
    """(columns of text, names of the labels) of a file of training rows."""
    columns = None
    counts: Counter = Counter()
    for number, fields in _records(path, None, True):
        if columns is None:
            columns = _text_columns(path, fields)
        label = fields[_label_column(fields)].strip()
        if not label or not label.isprintable():
            raise DataError(f"{path} line {number}: label must be a word or number")
        counts[label] += 1
        if len(counts) > MOST_CLASSES:
            raise DataError(
                f"{path} line {number}: labels must be at most {MOST_CLASSES} different ones, "
                f"{brief(label)} is one more"
            )
    if columns is None:
        raise DataError(f"{path} holds no rows")
    if len(counts) < FEWEST_CLASSES:
        raise DataError(f"{path} must have {FEWEST_CLASSES} different labels or more")
    return columns, _label_names(path, counts)


def _label_names(path, counts):
    """Words in the order of the alphabet; numbers must be 0, 1, ... and are their own names."""
    if not all(label.isdecimal() for label in counts):
        return tuple(sorted(counts))
    names = tuple(str(number) for number in range(len(counts)))
    if set(names) != counts.keys():
        raise DataError(
            f"{path}: labels that are numbers must be 0 to {len(counts) - 1}, "
            f"not {', '.join(sorted(counts))}"
        )
    return names


def _text_columns(path, fields):
    for columns in PAIRS + SINGLES:
        if set(columns) <= fields.keys():
            return columns
    raise DataError(
        f"{path} line 1: header must name sentence, or sentence1 and sentence2; "
        f"it names {', '.join(fields)}"
    )


def _label_column(fields):
    return next(name for name in LABELS if name in fields)


def _records(path: Path, columns, labelled) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, {column: field}) of every row; blank lines are none."""
    lines = read_lines(path)
    if ".csv" in path.name:
        rows = _csv(path, "\n".join(line for _, line in lines))
    else:
        rows = ((number, line.split("\t")) for number, line in lines if line.strip())
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise DataError(
            f"{path} line 1: header must name a column once, not {brief(twice[0])} twice"
        )
    missing = [name for name in columns or () if name not in header]
    if labelled and not set(header) & set(LABELS):
        missing.append("label")
    if missing:
        raise DataError(f"{path} line 1: header must name {', '.join(missing)}")
    empty = True
    for number, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{path} line {number}: must have {len(header)} fields, not {len(fields)}"
            )
        empty = False
        yield number, dict(zip(header, fields, strict=True))
    if empty:
        raise DataError(f"{path} holds no rows")


def _csv(path, text):
    """(line that a row ends on, its fields) of CSV; a field in quotes may hold lines."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: must be CSV: {error}") from None
