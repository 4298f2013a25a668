# SPDX-License-Identifier: Apache-2.0
"""Text files that a user hands in, as spreadsheets, editors and other tools write them."""

import codecs
import lzma

import pytest

from compress.data.tasks import find_task
from compress.data.text_files import DataError, read_lines, read_samples, read_sentences

MARK = codecs.BOM_UTF8


@pytest.fixture
def file(tmp_path):
    """Writes bytes (or text as UTF-8) to a file -> its path."""

    def write(content, name="file.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    "content, lines",
    [
        ("", []),
        ("\n", [(1, "")]),
        ("a", [(1, "a")]),
        ("a\n\nb\r\n", [(1, "a"), (2, ""), (3, "b")]),
        (MARK + b"a\n", [(1, "a")]),
        ("a\u2028b\u2029c\x85d\x0be\x1cf\ng", [(1, "a\u2028b\u2029c\x85d\x0be\x1cf"), (2, "g")]),
        ("a\rb\nc", [(1, "a\rb"), (2, "c")]),
    ],
)
def test_lines(file, content, lines):
    assert read_lines(file(content)) == lines


@pytest.mark.parametrize(
    "content, rule",
    [
        (b"good\ncaf\xe9\n", "file.txt line 2: must be UTF-8, byte 0xe9 is not"),
        ("good\n".encode("utf-16"), "must be UTF-8, it is UTF-16"),
        ("good\n".encode("utf-32"), "must be UTF-8, it is UTF-32"),
        (b"a\nb\0c\n", "file.txt line 2: must be text, not binary"),
        (b"a\rb\r", "must have lines that end with LF or CR LF, not with CR"),
    ],
)
def test_no_text(file, content, rule):
    for read in (read_lines, read_sentences, lambda path: read_samples(path, 2)):
        with pytest.raises(DataError, match=rule):
            read(file(content))


def test_damaged_xz(file):
    packed = lzma.compress(b"sentence\tlabel\na good film\t1\n")
    path = file(packed, "file.tsv.xz")
    assert read_sentences(path)[0] == [("a good film",)]
    for content in (packed[:-8], b"a good film\n", b""):
        with pytest.raises(DataError, match="is damaged"):
            read_sentences(file(content, "file.tsv.xz"))


# Sentences for calibration.


@pytest.mark.parametrize(
    "content, texts, taken",
    [
        ("one\n\ntwo films\n", [("one",), ("two films",)], "took 2 lines as sentences"),
        (
            "one\ntwo\tthree and four\n",
            [("one",), ("two", "three and four")],
            "took 1 lines as sentences and 1 as pairs",
        ),
        ("a b\tc d\n", [("a b", "c d")], "took 1 as pairs"),
        (
            MARK + b"sentence\tlabel\nthe film\t1\r\n\r\na plot\t0\r\n",
            [("the film",), ("a plot",)],
            "took sentence of 2 lines",
        ),
        ("idx\tSentence\n7\tthe film\n", [("the film",)], "took sentence of 1 lines"),
        (
            "premise\thypothesis\tlabel\na b\tc\tentailment\n",
            [("a b", "c")],
            "took premise and hypothesis of 1 lines",
        ),
        ("well , yes\nno , it is not\n", [("well , yes",), ("no , it is not",)], "took 2 lines"),
        ("2 films for the price of one", [("2 films for the price of one",)], "took 1 lines"),
    ],
)
def test_sentences(file, content, texts, taken):
    found, note = read_sentences(file(content))
    assert found == texts and taken in note and note.startswith(str(file(content)))


@pytest.mark.parametrize(
    "content, rule",
    [
        ("", "holds no sentences"),
        ("\n \n", "holds no sentences"),
        ("sentence\tlabel\n", "holds no sentences behind its header"),
        ("a\tb\tc\n", "line 1: must be a sentence, or two with a tab between, not 3 fields"),
        ("sentence1\tsentence2\na\n", "line 2: must have 2 fields or more, not 1"),
        ("a b\t \n", "line 1: sentence must not be empty"),
        ("sentence\tlabel\n\t1\n", "line 2: sentence must not be empty"),
        ("review\tlabel\nthe film\t1\n", "line 1: header must name sentence, .* it names review"),
        ("the film is good\t1\na plot\t0\n", "behind the last tab of a line looks like a label"),
        ("the film is good\t1\na plot\n", "behind the last tab of a line looks like a label"),
        ("the film is good\tpositive\n", "behind the last tab of a line looks like a label"),
        ("1\tthe film is good\n0\ta plot\n", "before the first tab of a line looks like a label"),
        ("sentence,label\nthe film,1\n", "line 1: columns must be separated by tabs, not by ','"),
        ('"text";"label"\n"a";1\n', "line 1: columns must be separated by tabs, not by ';'"),
        ("the film is good,1\n", "behind the last comma of a line looks like a label"),
        ("the film,positive\na plot,negative\n", "behind the last comma of a line looks like a"),
        ("0,the film\n1,a plot\n", "before the first comma of a line looks like a label"),
        ("3 the film\n1 a plot\n", "what every line begins with looks like a label"),
        ("__label__1 the film\n__label__0 a plot\n", "what every line begins with looks like a"),
        ('{"sentence": "the film", "label": 1}\n', "must hold a sentence a line, not JSON"),
    ],
)
def test_sentences_refused(file, content, rule):
    with pytest.raises(DataError, match=rule):
        read_sentences(file(content))


# Samples.


@pytest.mark.parametrize(
    "content, samples",
    [
        ("sentence\tlabel\na film\t1\n", [(("a film",), 1)]),
        (MARK + b"sentence\tlabel\r\na film\t1\r\n\r\n", [(("a film",), 1)]),
        ("label\tsentence\n1\ta film\n", [(("a film",), 1)]),
        ("sentence1\tsentence2\tlabel\nis it?\tit is\t1\n", [(("is it?", "it is"), 1)]),
        ("sentence\na film\n", [(("a film",), None)]),
        ("a film\t0\n\nno film\n", [(("a film",), 0), (("no film",), None)]),
        ("a film\tgood\nno film\t0\n", [(("a film",), 1), (("no film",), 0)]),
        ("a\u2028film\t1\n", [(("a\u2028film",), 1)]),
    ],
)
def test_samples(file, content, samples):
    assert read_samples(file(content), 2, ("bad", "good")) == samples


@pytest.mark.parametrize(
    "content, rule",
    [
        ("", "holds no sentences"),
        ("sentence\tlabel\n", "holds no sentences"),
        ("sentence\tlabel\na film\tpositive\n", r"line 2: label must be 0\.\.1, not 'positive'"),
        ("sentence\tlabel\na film\n", "line 2: must have 2 fields, not 1"),
        ("sentence\tlabel\n\t1\n", "line 2: sentence must not be empty"),
        ("sentence1\tsentence2\na film\t\n", "line 2: sentence must not be empty"),
        ("a film\t2\n", r"line 1: label must be 0\.\.1, not '2'"),
        ("a film\t-1\n", r"line 1: label must be 0\.\.1, not '-1'"),
        ("a film\t\n", r"line 1: label must be 0\.\.1, not ''"),
        ("a film\t" + "1" * 5000, r"line 1: label must be 0\.\.1, not '1111.{,80}$"),
        ("a film\t\u00b2\n", r"line 1: label must be 0\.\.1, not"),
    ],
)
def test_samples_refused(file, content, rule):
    with pytest.raises(DataError, match=rule):
        read_samples(file(content), 2)


def test_samples_name_the_labels(file):
    with pytest.raises(DataError, match=r"label must be 0\.\.1 or one of bad, good, not 'fine'"):
        read_samples(file("a film\tfine\n"), 2, ("bad", "good"))


# Splits of tasks.


def test_split(file, tmp_path):
    file(MARK + b"sentence\tlabel\r\na film\t1\r\n\r\nno\xe2\x80\xa8film\t0\r\n", "train.tsv")
    rows = find_task(str(tmp_path)).rows("train")
    assert [(row.sentence, row.label) for row in rows] == [("a film", 1), ("no\u2028film", 0)]
    file(b"sentence\tlabel\ncaf\xe9\t1\n", "dev.tsv")
    with pytest.raises(DataError, match="line 2: must be UTF-8, byte 0xe9 is not"):
        find_task(str(tmp_path)).rows("dev")
