# SPDX-License-Identifier: Apache-2.0
"""Rows set apart: for choosing thresholds, or as the dev split of a task that brings none."""

import random
import re
from collections import Counter, defaultdict

__all__ = ["HOLD_OUT_VERSION", "cut", "hold_out", "shares"]

HOLD_OUT_VERSION = 1  # counted up when equal rows come to be divided otherwise
MOST = 0.1  # share of the rows that may be held out
LONG = 0.85  # quantile of length from which a phrase is a whole sentence
SHINGLE = 5  # words in a row that give away a common origin
LETTERS = re.compile(r"[^a-z0-9]+")


def hold_out(rows, count, seed, parts_of_one_another=False):
    """(rest, held): `count` rows, MOST of all at most, that no stage trains on.

    A random share of every class. Rows of equal texts (either one of a pair) stand on one side.
    Where rows are parts of one another the held ones are long, as a whole sentence is, and each row
    whose text lies in a held one is on neither side.
    """
    share = min(count, int(MOST * len(rows))) / len(rows)
    if not parts_of_one_another:
        return cut(rows, share, seed)
    lengths = sorted(len(row.sentence) for row in rows)
    long = lengths[int(LONG * (len(lengths) - 1))]
    whole = [row for row in rows if len(row.sentence) >= long]
    _, held = cut(whole, share * len(rows) / len(whole), seed)
    inside = _Inside(held)
    return [row for row in rows if not inside(row.sentence)], held


def cut(rows, share, seed):
    """(rest, chosen): `share` of the rows of every class, groups of equal texts together."""
    wanted = defaultdict(float)
    for row in rows:
        wanted[row.label] += share
    groups = _groups(rows)
    random.Random(seed).shuffle(groups)
    chosen = set()
    for group in groups:
        labels = [rows[i].label for i in group]
        if all(wanted[label] >= labels.count(label) - 0.5 for label in labels):
            chosen.update(group)
            for label in labels:
                wanted[label] -= 1
    rest = [row for i, row in enumerate(rows) if i not in chosen]
    return rest, [rows[i] for i in sorted(chosen)]


def shares(rows, labels):
    """The number of rows and the share of every class, as text: `900 rows (bad 30.0 %, ...)`."""
    counts = Counter(row.label for row in rows)
    parts = (f"{name} {100 * counts[i] / len(rows):.1f} %" for i, name in enumerate(labels))
    return f"{len(rows)} rows ({', '.join(parts)})"


def _groups(rows):
    """Lists of row numbers that share a text, compared on letters and digits."""
    first: dict[str, int] = {}
    root = list(range(len(rows)))

    def find(i):
        while root[i] != i:
            root[i] = i = root[root[i]]
        return i

    for i, row in enumerate(rows):
        for text in (row.sentence, row.pair):
            if text:
                key = LETTERS.sub(" ", text.lower()).strip()
                root[find(i)] = find(first.setdefault(key, i))
    groups = defaultdict(list)
    for i in range(len(rows)):
        groups[find(i)].append(i)
    return list(groups.values())


class _Inside:
    """Whether a text comes from one of some whole sentences: three words in a row or more."""

    def __init__(self, rows):
        self._shingles = {one for row in rows for one in _shingles(row.sentence)}
        self._whole = "\n".join(f" {row.sentence.strip().lower()} " for row in rows)
        self._texts = {row.sentence for row in rows}

    def __call__(self, text):
        words = text.lower().split()
        if text in self._texts:
            return True
        if len(words) >= SHINGLE:
            return any(one in self._shingles for one in _shingles(text))
        return len(words) >= 3 and f" {' '.join(words)} " in self._whole


def _shingles(text):
    words = text.lower().split()
    return [" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)]
