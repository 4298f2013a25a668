# SPDX-License-Identifier: Apache-2.0
"""Text files that a user hands in: lines, sentences for calibration, samples with labels.

A file is UTF-8, with or without a byte-order mark, plain or .xz. A line ends at LF or CR LF and
nowhere else: U+2028 and its like belong to the text. Every complaint names the file, the line and
the rule that was broken; nothing is taken for a sentence that looks like something else.
"""

import codecs
import lzma
import re
from pathlib import Path

from golden_model.config import brief

__all__ = ["DataError", "label_number", "read_lines", "read_samples", "read_sentences"]

# Names of columns that hold text, pairs first; and of columns that do not.
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
)
SINGLES = (("sentence",), ("text",))
OTHERS = {"label", "labels", "class", "target", "score", "index", "idx", "id", "guid", "gold_label"}
NAMES = OTHERS | {name for columns in PAIRS + SINGLES for name in columns}

UNICODE_MARKS = {  # the longer ones first: one of UTF-32 begins with one of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
WORD = re.compile(r"[\w+-]+")
NUMBERED = re.compile(r"(__label__\S+|[+-]?\d+)[ ,;|:]")
LONGEST_NUMBER = 9  # digits of a label


class DataError(ValueError):
    """A file of text that is missing or does not hold what is needed."""


def read_lines(path: Path | str) -> list[tuple[int, str]]:
    """[(number from 1, text without its end)] of all lines; the last one may lack its end.

    Raises DataError where the file is no UTF-8 or a damaged .xz, OSError where it cannot be opened.
    """
    data = _content(Path(path))
    for mark, name in UNICODE_MARKS.items():
        if data.startswith(mark):
            raise DataError(f"{path} must be UTF-8, it is {name}")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} line {number}: must be UTF-8, byte {data[error.start]:#04x} is not"
        ) from None
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} line {number}: must be text, not binary (it holds a NUL)")
    if "\r" in text and "\n" not in text:
        raise DataError(f"{path} must have lines that end with LF or CR LF, not with CR")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1)]


def _content(path):
    if path.suffix != ".xz":
        return path.read_bytes()
    try:
        with lzma.open(path) as file:
            return file.read()
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


# Sentences for calibration.


def read_sentences(path: Path | str) -> tuple[list[tuple[str, ...]], str]:
    """([(sentence,) or (sentence, second)], what was taken, as a line for the user).

    One input a line, a tab between the two of a pair. A first line that names columns is a header,
    and the columns of text are taken. Without one, a file whose lines carry labels, or that is CSV
    or JSON, is refused. Blank lines are none.
    """
    lines = [(number, text) for number, text in read_lines(path) if text.strip()]
    if not lines:
        raise DataError(f"{path} holds no sentences")
    columns = _header(path, lines[0][1])
    if columns is None:
        found = [_whole(path, number, text.split("\t")) for number, text in lines]
        _refuse_labels(path, lines)
        pairs = sum(len(text) > 1 for text in found)
        singles = f"{len(found) - pairs} lines as sentences" if pairs < len(found) else ""
        taken = " and ".join(filter(None, (singles, f"{pairs} as pairs" if pairs else "")))
        return found, f"{path}: took {taken}"
    header = _names(lines[0][1].split("\t"))
    places = [header.index(name) for name in columns]
    if len(lines) == 1:
        raise DataError(f"{path} holds no sentences behind its header")
    found = [_columns(path, number, text.split("\t"), places) for number, text in lines[1:]]
    return found, f"{path}: took {' and '.join(columns)} of {len(found)} lines"


def _names(fields):
    return [field.strip().strip('"').lower() for field in fields]


def _header(path, line):
    """The columns of text that a first line names, or None where it is no header."""
    names = _names(line.split("\t"))
    for columns in PAIRS + SINGLES:
        if set(columns) <= set(names):
            return columns
    if len(names) > 1 and set(names) & OTHERS and all(WORD.fullmatch(name) for name in names):
        raise DataError(
            f"{path} line 1: header must name sentence, or sentence1 and sentence2; "
            f"it names {', '.join(names)}"
        )
    for sign in ",;":
        names = _names(line.split(sign))
        if len(names) > 1 and set(names) & NAMES and all(WORD.fullmatch(name) for name in names):
            raise DataError(f"{path} line 1: columns must be separated by tabs, not by {sign!r}")
    return None


def _refuse_labels(path, lines):
    """Raise DataError where lines have what looks like a label, or are of another format."""
    texts = [text for _, text in lines]
    if all(text.lstrip().startswith("{") for text in texts):
        raise DataError(f"{path} must hold a sentence a line, not JSON")
    with_tab = [text for text in texts if "\t" in text]
    found = _label_side(with_tab, "\t", "tab")
    # A comma belongs to many sentences; a single word behind it, without a space, in all to none.
    for sign, name in ((",", "comma"), (";", "semicolon")):
        if all(sign in text for text in texts):
            found = found or _label_side(texts, sign, name)
    if len(texts) > 1 and all(NUMBERED.match(text) for text in texts):
        found = found or "what every line begins with"
    if found:
        raise DataError(
            f"{path}: {found} looks like a label; give the file a header line "
            "(sentence, a tab, label) or sentences alone"
        )


def _label_side(texts, sign, name):
    """Which side of the sign looks like a label in all texts, in words; "" where none does."""
    ends = [text.rpartition(sign)[2] for text in texts]
    starts = [text.partition(sign)[0] for text in texts]
    # One line alone may be a pair that begins with a word, hardly one that ends with one.
    if _are_labels(ends, few=1 if sign == "\t" else 2):
        return f"what stands behind the last {name} of a line"
    if _are_labels(starts, few=2):
        return f"what stands before the first {name} of a line"
    return ""


def _are_labels(parts, few):
    """Whether all are numbers, or there are at least `few` and all are single words."""
    if not parts:
        return False
    if all(NUMBER.fullmatch(part.strip()) for part in parts):
        return True
    return len(parts) >= few and all(WORD.fullmatch(part) for part in parts)


def _whole(path, number, fields):
    if len(fields) > 2:
        raise DataError(
            f"{path} line {number}: must be a sentence, or two with a tab between, "
            f"not {len(fields)} fields"
        )
    return _not_empty(path, number, fields)


def _columns(path, number, fields, places):
    if len(fields) <= max(places):
        raise DataError(
            f"{path} line {number}: must have {max(places) + 1} fields or more, not {len(fields)}"
        )
    return _not_empty(path, number, [fields[place] for place in places])


def _not_empty(path, number, fields):
    if not all(field.strip() for field in fields):
        raise DataError(f"{path} line {number}: sentence must not be empty")
    return tuple(fields)


# Samples that travel with a model.


def read_samples(
    path: Path | str, classes: int, labels: tuple[str, ...] | None = None
) -> list[tuple[tuple[str, ...], int | None]]:
    """[((sentence,) or (sentence, second), label or None)] of a samples.tsv.

    A header names sentence, or sentence1 and sentence2, and maybe label; without one a line is a
    sentence, or sentence, tab, label. A label is a class number or one of the names in `labels`.
    """
    lines = [(number, text) for number, text in read_lines(path) if text.strip()]
    names, columns = _names(lines[0][1].split("\t")) if lines else [], ()
    for wanted in (PAIRS[0], ("sentence",)):
        if set(wanted) <= set(names):
            lines, columns = lines[1:], wanted
    if not lines:
        raise DataError(f"{path} holds no sentences")
    samples = []
    for number, text in lines:
        where = f"{path} line {number}"
        if not columns:
            sentence, tab, label = text.rpartition("\t") if "\t" in text else (text, "", None)
            sentences = (sentence,)
        else:
            fields = text.split("\t")
            if len(fields) != len(names):
                raise DataError(f"{where}: must have {len(names)} fields, not {len(fields)}")
            sentences = tuple(fields[names.index(column)] for column in columns)
            label = fields[names.index("label")] if "label" in names else None
        _not_empty(path, number, sentences)
        label = None if label is None else label_number(label, classes, where, labels)
        samples.append((sentences, label))
    return samples


def label_number(text: str, classes: int, where: str, labels: tuple[str, ...] | None = None) -> int:
    """The class that a label names: its number 0..classes-1, or its place in `labels`."""
    if labels and text.strip() in labels:
        return labels.index(text.strip())
    if not (text.isdecimal() and len(text) <= LONGEST_NUMBER and int(text) < classes):
        names = f" or one of {', '.join(labels)}" if labels else ""
        raise DataError(f"{where}: label must be 0..{classes - 1}{names}, not {brief(text)}")
    return int(text)
