# SPDX-License-Identifier: Apache-2.0
"""compress: tasks from folders and files, complaints about them, rows that are held out."""

import lzma
from collections import Counter

import pytest

from compress.data.holdout import cut, hold_out, shares
from compress.data.tasks import Row, find_task
from compress.data.text_files import DataError

GOOD = ["sentence\tlabel", "fine\t1", "dull\t0"]


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "lines, message",
    [
        (["sentence", "good"], "line 1: header must name label"),
        (["text_a\tlabel", "good\t1"], "line 1: header must name sentence, or sentence1"),
        (["sentence\tlabel", "good\t1", "bad"], "line 3: must have 2 fields, not 1"),
        (["sentence\tlabel", "good\t1", "bad\t "], "line 3: label must be a word or number"),
        (
            ["sentence\tlabel", "good\t2", "bad\t0"],
            "labels that are numbers must be 0 to 1, not 0, 2",
        ),
        (["sentence\tlabel", "good\t1"], "must have 2 different labels or more"),
        (["sentence\tsentence\tlabel", "a\tb\t1"], "line 1: header must name a column once"),
        (["sentence\tlabel"], "holds no rows"),
        (
            ["sentence\tlabel", *(f"good\t{i}" for i in range(17))],
            "line 18: labels must be at most 16 different ones, '16' is one more",
        ),
    ],
)
def test_bad_training_rows(tmp_path, lines, message):
    write(tmp_path / "mine" / "train.tsv", *lines)
    with pytest.raises(DataError, match="train.tsv") as error:
        find_task("mine", tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "lines, message",
    [
        (['"a film,1', "no,0"], "line 3: must be CSV: unexpected end of data"),
        (['"a" film,1', "no,0"], "line 2: must be CSV: ',' expected after"),
        ([f"{'a' * 140_000},1", "no,0"], "line 2: must be CSV: field larger than field limit"),
        (["a film,1", " ", '"no\n\nfilm",0', "a,b,0"], "line 7: must have 2 fields, not 3"),
    ],
)
def test_bad_csv(tmp_path, lines, message):
    write(tmp_path / "train.csv", "text,label", *lines)
    with pytest.raises(DataError, match="train.csv") as error:
        find_task(str(tmp_path))
    assert message in str(error.value)


def test_too_few_rows_for_a_dev_split(tmp_path):
    write(tmp_path / "train.tsv", *GOOD)
    with pytest.raises(DataError, match=r"must have a dev split, .*train.tsv holds 2"):
        find_task(str(tmp_path)).rows("dev")


def test_a_path_that_is_not_there(tmp_path):
    """What its parent holds is not taken instead."""
    write(tmp_path / "train.tsv", *GOOD)
    with pytest.raises(DataError, match="No task"):
        find_task(str(tmp_path / "mine"))


@pytest.mark.parametrize(
    "lines, message",
    [
        (
            ["sentence\tlabel", "good\t2"],
            "dev.tsv line 2: label must be 0..1 or one of 0, 1, not '2'",
        ),
        (["sentence\tlabel", " \t1"], "dev.tsv line 2: sentence must not be empty"),
        (["label\tsentence1", "1\ta"], "dev.tsv line 1: header must name sentence"),
        (["sentence\tlabel", "a\tb\t1"], "dev.tsv line 2: must have 2 fields, not 3"),
    ],
)
def test_bad_rows_of_other_splits(tmp_path, lines, message):
    write(tmp_path / "mine" / "train.tsv", *GOOD)
    write(tmp_path / "mine" / "dev.tsv", *lines)
    with pytest.raises(DataError) as error:
        find_task("mine", tmp_path).rows("dev")
    assert message in str(error.value)


def test_what_is_missing(tmp_path):
    with pytest.raises(DataError, match="No task 'mine': looked for .*mine/train.tsv"):
        find_task("mine", tmp_path)
    write(tmp_path / "mine" / "dev.tsv", *GOOD)
    with pytest.raises(DataError, match="Task mine must have a train split; there is dev"):
        find_task("mine", tmp_path)
    write(tmp_path / "mine" / "train.tsv", *GOOD)
    with pytest.raises(DataError, match="Task mine must have a test split; there is dev, train"):
        find_task("mine", tmp_path).rows("test")


def test_words_pairs_csv_and_xz(tmp_path):
    """Labels are words or numbers, columns have many names, CSV has quotes."""
    write(tmp_path / "a" / "train.tsv", "text\tclass\tid", "fine\tgood\t7", "dull\tbad\t8")
    task = find_task("a", tmp_path)
    assert task.labels == ("bad", "good") and not task.pair
    assert task.rows("train")[0] == Row("fine", 1, None, {"id": "7"})
    write(tmp_path / "b" / "train.csv", "premise,hypothesis,label", '"a, ""b""",c,1', "d,e,0")
    task = find_task("b", tmp_path)
    assert task.pair and task.labels == ("0", "1")
    assert task.rows("train")[0] == Row('a, "b"', 1, "c")
    (tmp_path / "c").mkdir()
    with lzma.open(tmp_path / "c" / "train.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join(GOOD) + "\n")
    write(tmp_path / "c" / "val.tsv", "sentence\tlabel", "so so\t1")
    write(tmp_path / "c" / "unsup.tsv", "sentence", "who knows")
    task = find_task("c", tmp_path)
    assert task.rows("dev") == [Row("so so", 1)]
    assert task.rows("unsup", labelled=False) == [Row("who knows", -1)]


def test_a_path_of_ones_own(tmp_path):
    write(tmp_path / "mine.tsv", "sentence\tlabel", *(f"text {i}\t{i % 2}" for i in range(40)))
    task = find_task(str(tmp_path / "mine.tsv"))
    assert (task.name, task.classes) == ("mine", 2)
    assert len(task.rows("train")) == 36 and len(task.rows("dev")) == 4
    digest = task.digest()
    assert digest == find_task(str(tmp_path / "mine.tsv")).digest() != ""


def rows(count, classes=3):
    return [Row(f"text number {i}", i % classes) for i in range(count)]


def test_held_out_rows_are_a_share_of_every_class():
    some = rows(900) + [Row(f"rare {i}", 3) for i in range(100)]
    rest, held = hold_out(some, 100, seed=1)
    assert len(rest) == 900 and len(held) == 100
    assert Counter(row.label for row in held) == {0: 30, 1: 30, 2: 30, 3: 10}
    assert shares(held, "abcd") == "100 rows (a 30.0 %, b 30.0 %, c 30.0 %, d 10.0 %)"
    assert hold_out(some, 100, seed=1) == (rest, held) != hold_out(some, 100, seed=2)
    assert len(hold_out(some, 5000, seed=1)[1]) == 100  # a tenth at most


def test_equal_texts_stand_on_one_side():
    """Also the second text of a pair counts."""
    some = [Row(f"question {i // 4}", i % 2, f"answer {i}") for i in range(400)]
    some += [Row(f"other {i}", i % 2, f"Answer {i}!") for i in range(0, 400, 7)]
    rest, held = cut(some, 0.1, seed=3)

    def texts(part):
        return {t.lower().rstrip("!") for row in part for t in (row.sentence, row.pair)}

    assert held and not texts(rest) & texts(held)


def test_no_phrase_of_a_held_sentence_stays():
    words = [f"w{i}" for i in range(2000)]
    whole = [" ".join(words[i : i + 12]) for i in range(0, 1920, 12)]
    phrases = [" ".join(one.split()[2:6]) for one in whole] * 2 + ["fine film"] * 200
    some = [Row(text, i % 2) for i, text in enumerate(whole + phrases)]
    rest, held = hold_out(some, 20, 1, parts_of_one_another=True)
    assert len(held) == 20 and not any(row in rest for row in held)
    assert not any(row.sentence in one.sentence for row in rest for one in held)
