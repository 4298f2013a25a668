# SPDX-License-Identifier: Apache-2.0
from compress.data import pairs
from compress.data.corpus import Corpus
from compress.data.pairs import similar_pairs
from compress.recipes.recipe import Cut

TEXTS = [
    "How do I learn to swim?",
    "Where can I learn swimming and how?",
    "What is the best way to swim fast?",
    "Why is the sky blue?",
    "Is the sky really blue?",
]


def test_the_most_alike_stand_together():
    found = similar_pairs(TEXTS)
    assert (TEXTS[3], TEXTS[4]) in found
    assert len(found) == len({frozenset(pair) for pair in found})
    assert all(one != other for one, other in found)


def test_few_beside_each(monkeypatch):
    """With one place each: only what is the most alike of one of the two."""
    monkeypatch.setattr(pairs, "BESIDE", 1)
    found = similar_pairs([*TEXTS, TEXTS[0]])
    assert 3 <= len(found) <= 5 and (TEXTS[3], TEXTS[4]) in found
    assert similar_pairs(["one", "two"]) == []


class Recipe:
    def __init__(self, task):
        self.task, self.held = str(task), 8


def test_rows_of_new_pairs(tmp_path):
    """No label, and no text of a row that is held out."""
    words = "swim sky blue fast learn way best water light air".split()
    lines = ["sentence1\tsentence2\tlabel"]
    for i in range(60):
        one, other = words[i % 10], words[(i * 7 + 1) % 10]
        lines.append(f"the {one} number {i}\ta {other} text {i}\t{i % 2}")
    (tmp_path / "mine").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "mine" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    corpus = Corpus(Recipe("mine"), tmp_path, 1)
    rows = corpus.rows([Cut(cut="pairs", most=40)])
    held = {text for row in corpus.held for text in (row.sentence, row.pair)}
    assert len(rows) == 40 and held and all(row.label == -1 for row in rows)
    assert not held & {text for row in rows for text in (row.sentence, row.pair)}
