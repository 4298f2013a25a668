# SPDX-License-Identifier: Apache-2.0
"""Models and hardware configurations by name."""

import dataclasses
import pathlib

from golden_model.checkpoint import load, load_model
from golden_model.config import MODELS, NumberFormat
from golden_model.hardware import HARDWARE, UNITS, HardwareConfig
from terse.errors import UserError

__all__ = [
    "EXAMPLES",
    "checkpoint",
    "hardware",
    "model_config",
    "model_folder",
    "number_format",
    "samples",
    "tokenizer",
]

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
SHORT = {"T": "tokens", "P": "columns", "bus": "bus_bits"}  # names of system.md


def _trained():
    return sorted(path.parent.name for path in EXAMPLES.glob("*/config.json"))


def model_folder(name):
    """The checkpoint folder of a shipped model, or `name` itself when it is such a folder."""
    for folder in (EXAMPLES / name, pathlib.Path(name)):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        f"No model {name!r}; there is {', '.join(_trained()) or 'none'}, or give the folder of a checkpoint"
    )


def checkpoint(name):
    """The `Checkpoint` of a model."""
    folder = model_folder(name)
    try:
        return load(folder)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"Checkpoint {folder} cannot be read: {error}") from error


def model_config(name):
    """Sizes of a shipped model, of a checkpoint folder, or of one of the named sizes."""
    if name in MODELS and not (EXAMPLES / name / "config.json").is_file():
        return MODELS[name]
    try:
        return checkpoint(name).model
    except UserError as error:
        if name in MODELS or pathlib.Path(name).exists():
            raise
        raise UserError(
            f"No model {name!r}; sizes are known of {', '.join(MODELS)}, or give the folder of a checkpoint"
        ) from error


def tokenizer(name, positions):
    """The `SentenceTokenizer` of a model."""
    from compress.tokenizer import load as load_tokenizer

    folder = model_folder(name)
    try:
        return load_tokenizer(folder, positions, load_model(folder))
    except FileNotFoundError as error:
        raise UserError(f"Model {name} takes no text: {error}") from error


def samples(name):
    """(sentence, label) pairs that travel with a model."""
    path = model_folder(name) / "samples.tsv"
    if not path.is_file():
        raise UserError(f"Model {name} has no sample sentences; give a TEXT")
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = lines[1:] if lines and lines[0] == "sentence\tlabel" else lines
    return [(sentence, int(label)) for sentence, label in (line.rsplit("\t", 1) for line in lines)]


def hardware(name, settings=()):
    """A `HardwareConfig`: one of the named ones with `settings` like "T=8", "format=int8", "units=span,exit"."""
    if name not in HARDWARE:
        raise UserError(f"No hardware {name!r}; there is {', '.join(HARDWARE)}")
    changes = dict(_setting(text) for text in settings)
    try:
        return dataclasses.replace(HARDWARE[name], **changes)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def _setting(text):
    name, equals, value = text.partition("=")
    name = SHORT.get(name, name)
    known = [field.name for field in dataclasses.fields(HardwareConfig)]
    if not equals or name not in known:
        raise UserError(
            f"Setting must be NAME=VALUE with NAME among T, P, {', '.join(known)}, not {text!r}"
        )
    if name == "format":
        return name, number_format(value)
    if name == "units":
        return name, frozenset(
            UNITS if value == "all" else () if value in ("", "none") else value.split(",")
        )
    if name == "multiplier":
        return name, value
    if not value.isdecimal():
        raise UserError(f"Setting {name} must be a number, not {value!r}")
    return name, int(value)


def number_format(text):
    """NumberFormat of "int8" or "bits,exponent", also written <8,3> or af8,3."""
    if text == "int8":
        return NumberFormat(8, 0)
    parts = text.removeprefix("af").strip("<>").split(",")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UserError(
            f"Setting format must be int8 or bits,exponent (for example 8,3), not {text!r}"
        )
    try:
        return NumberFormat(*map(int, parts))
    except ValueError as error:
        raise UserError(str(error)) from error
