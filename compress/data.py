# SPDX-License-Identifier: Apache-2.0
"""Labelled sentences from TSV files (plain or xz), and batches of like length from them.

A split is `DIR/TASK/SPLIT.tsv[.xz]` or `DIR/SPLIT.tsv[.xz]`: one header line, tab-separated
fields, no quoting. Every complaint names the file, the line and the rule that was broken.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from compress.text_files import DataError, label_number, read_lines

__all__ = [
    "TASKS",
    "DataError",
    "Row",
    "Task",
    "batches",
    "find_split",
    "hold_out",
    "pad",
    "read_split",
]


@dataclass(frozen=True)
class Task:
    """What one task's files hold.

    Parameters
    ----------
    classes : number of labels, 0..classes-1
    pair : two sentences a row (`sentence1`, `sentence2`) instead of one (`sentence`)
    first_pass : another task whose labels mean the same, used before this one when it is there
    """

    classes: int
    pair: bool = False
    first_pass: str | None = None

    @property
    def columns(self):
        return ("sentence1", "sentence2", "label") if self.pair else ("sentence", "label")


TASKS = {
    "sst2": Task(2, first_pass="imdb"),
    "imdb": Task(2),
    "eraser_movies": Task(2, first_pass="imdb"),
    "qnli": Task(2, pair=True),
    "qqp": Task(2, pair=True),
    "mrpc": Task(2, pair=True),
    "mnli": Task(3, pair=True),
    "hatexplain": Task(3),
    "ag_news": Task(4),
    "dbpedia14": Task(14),
}


@dataclass(frozen=True)
class Row:
    """One labelled example; `pair` is None for single sentences, `extra` holds further columns."""

    sentence: str
    label: int
    pair: str | None = None
    extra: dict = field(default_factory=dict)


def find_split(data_dir, task, split):
    """Path of the split's file, or a DataError that lists where it was looked for."""
    if task not in TASKS:
        raise DataError(f"Task must be one of {', '.join(TASKS)}, not {task!r}")
    data_dir = Path(data_dir)
    tried = [
        folder / f"{split}{suffix}"
        for folder in (data_dir / task, data_dir)
        for suffix in (".tsv", ".tsv.xz")
    ]
    for path in tried:
        if path.is_file():
            return path
    raise DataError(
        f"No {split} split of {task}: looked for {', '.join(map(str, tried))}; "
        "--data or TERSE_DATA names the folder, docs/data.md says what it holds"
    )


def read_split(data_dir, task, split, labelled=True):
    """All rows of one split, in file order; unlabelled rows get the label -1. No row is blank."""
    path = find_split(data_dir, task, split)
    return list(_rows(read_lines(path), TASKS[task], path, labelled))


def _rows(lines, task, path, labelled):
    """Check header and fields of (line number, line) pairs; yields what `_row` makes of each."""
    header = lines[0][1].split("\t") if lines else []
    needed = task.columns if labelled else task.columns[:-1]
    missing = [name for name in needed if name not in header]
    if missing:
        raise DataError(
            f"{path} line 1: header must name {', '.join(needed)}; missing {', '.join(missing)}"
        )
    rows = [(number, line.split("\t")) for number, line in lines[1:] if line.strip()]
    if not rows:
        raise DataError(f"{path} holds no rows")
    for number, fields in rows:
        if len(fields) != len(header):
            raise DataError(
                f"{path} line {number}: must have {len(header)} fields, not {len(fields)}"
            )
        yield _row(dict(zip(header, fields, strict=True)), task, f"{path} line {number}", labelled)


def _row(fields, task, where, labelled):
    sentences = [fields.pop(name) for name in task.columns[:-1]]
    label = label_number(fields.pop("label"), task.classes, where) if labelled else -1
    if not all(sentence.strip() for sentence in sentences):
        raise DataError(f"{where}: sentence must not be empty")
    return Row(sentences[0], label, sentences[1] if task.pair else None, fields)


def hold_out(rows, count, seed):
    """(rest, held): `count` rows for choosing thresholds, so that no held sentence is trained on.

    SST-2's training rows are phrases of one another. The held rows are long ones (whole sentences,
    as in dev), and every row whose text lies inside a held one is left out of the rest.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    lengths = sorted(len(row.sentence) for row in rows)
    long = lengths[int(0.85 * (len(lengths) - 1))]
    held = [i for i in order if len(rows[i].sentence) >= long][:count]
    chosen = set(held)
    shingles = {shingle for i in held for shingle in _shingles(rows[i].sentence)}
    whole = "\n".join(f" {rows[i].sentence.strip().lower()} " for i in held)
    rest = [
        row
        for i, row in enumerate(rows)
        if i not in chosen and not _overlaps(row.sentence, shingles, whole)
    ]
    return rest, [rows[i] for i in held]


SHINGLE = 5  # words in a row that give away a common origin


def _shingles(sentence):
    words = sentence.lower().split()
    return [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]


def _overlaps(sentence, shingles, whole):
    """Whether a phrase of three words or more comes from a held-out sentence."""
    words = sentence.lower().split()
    if len(words) >= SHINGLE:
        return any(shingle in shingles for shingle in _shingles(sentence))
    return len(words) >= 3 and f" {' '.join(words)} " in whole


def batches(lengths, size, generator=None, pool=64):
    """Lists of row numbers, `size` or fewer each, of like length.

    With a generator the rows are shuffled first and only `pool` batches are sorted together, so
    that batches differ between epochs; without, all rows are sorted (for evaluation).
    """
    count = len(lengths)
    lengths = torch.as_tensor(lengths)
    if generator is None:
        return list(torch.argsort(lengths, stable=True).split(size))
    order = torch.randperm(count, generator=generator)
    groups = []
    for part in order.split(size * pool):
        groups += part[torch.argsort(lengths[part], stable=True)].split(size)
    return [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]


def pad(sequences, positions):
    """(tokens, segments, live): right-padded tensors of a list of (ids, segments)."""
    length = min(positions, max(len(ids) for ids, _ in sequences))
    tokens = torch.zeros(len(sequences), length, dtype=torch.long)
    segments = torch.zeros_like(tokens)
    live = torch.zeros(len(sequences), length)
    for i, (ids, segment) in enumerate(sequences):
        count = min(len(ids), length)
        tokens[i, :count] = torch.as_tensor(ids[:count])
        segments[i, :count] = torch.as_tensor(segment[:count])
        live[i, :count] = 1
    return tokens, segments, live
