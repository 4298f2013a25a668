# SPDX-License-Identifier: Apache-2.0
"""Data sets and models of the Hugging Face hub by name, written as files that recipes take.

The only part of Terse that uses a network beside pip; a folder on disk will do for a name.
"""

import importlib.util
from pathlib import Path
from typing import Any

from compress.data.tasks import LABELS, split_name
from compress.data.text_files import PAIRS, SINGLES, DataError

__all__ = ["fetch_data", "fetch_model"]


def fetch_data(name: str, config: str | None, out: str | Path) -> list[str]:
    """Write the splits of a data set as OUT/SPLIT.tsv; returns their names.

    name, config : as `datasets.load_dataset` takes them. Labels are written by the names that the
    set gives them; a split whose labels are all -1 has none and is left out.

    Raises DataError where `datasets` is not installed, cannot load the set, or it has no texts.
    """
    if importlib.util.find_spec("datasets") is None:
        raise DataError("Data sets by name need datasets: pip install 'terse[hub]'")
    from datasets import load_dataset

    try:
        loaded = load_dataset(name, config)
    except Exception as error:  # of whatever library of the network
        raise DataError(_reason("Data set", name, error)) from error
    texts = {split_name(split): _tsv(name, rows) for split, rows in loaded.items()}
    found = {split: text for split, text in texts.items() if text}
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for split, text in found.items():
        (out / f"{split}.tsv").write_text(text, encoding="utf-8")
    return list(found)


def _tsv(name, rows):
    """A split as TSV, "" where it has no labels; tabs and line breaks become spaces."""
    there = set(rows.column_names)
    columns = next((several for several in PAIRS + SINGLES if there.issuperset(several)), None)
    label = next((one for one in LABELS if one in there), None)
    if columns is None or label is None:
        raise DataError(
            f"Data set {name} must have the columns sentence or text, or two of a pair, and label; "
            f"it has {', '.join(rows.column_names)}"
        )
    names = getattr(rows.features[label], "names", None)
    lines, known = ["\t".join((*columns, "label"))], False
    for row in rows:
        value: Any = row[label]
        known |= value != -1
        value = names[value] if names and value != -1 else value
        fields = (*(row[one] for one in columns), value)
        lines.append("\t".join(" ".join(str(field).split()) for field in fields))
    return "\n".join(lines) + "\n" if known else ""


def fetch_model(name: str, out: str | Path) -> None:
    """Write a classifier and its tokenizer as a folder that `[start]` and `terse import` take.

    Raises DataError where transformers cannot load it.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        model = AutoModelForSequenceClassification.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # of whatever library of the network
        raise DataError(_reason("Model", name, error)) from error
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _reason(what, name, error):
    return f"{what} {name} cannot be loaded: {' '.join(str(error).split())[:200]}"
