# SPDX-License-Identifier: Apache-2.0
"""Models and hardware configurations by name."""

import dataclasses
import pathlib
import tomllib
from collections.abc import Sequence

from compress.data.text_files import read_samples
from compress.tokens.tokenizer import SentenceTokenizer
from compress.tokens.tokenizer import load_tokenizer as load_tokenizer
from golden_model.checkpoint import Checkpoint, CheckpointError, load, load_model
from golden_model.config import MODELS, ModelConfig, NumberFormat, brief
from golden_model.hardware import HARDWARE, UNITS, HardwareConfig
from golden_model.network import Network
from golden_model.quantize import quantize
from terse.errors import UserError

__all__ = [
    "EXAMPLES",
    "changed_hardware",
    "checkpoint",
    "does_not_fit",
    "hardware",
    "hardware_for",
    "model_config",
    "model_folder",
    "network",
    "number_format",
    "samples",
    "tokenizer",
    "would_fit",
]

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
SHORT = {"T": "tokens", "P": "columns", "bus": "bus_bits"}  # names on the command line
LONGEST_NUMBER = 9  # digits of a setting


def _trained():
    return sorted(path.parent.name for path in EXAMPLES.glob("*/config.json"))


def model_folder(name: str) -> pathlib.Path:
    """The checkpoint folder of a shipped model, or `name` itself when it is such a folder."""
    for folder in (EXAMPLES / name, pathlib.Path(name)):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        f"No model {name!r}; there is {', '.join(_trained()) or 'none'}, "
        "or give the folder of a checkpoint"
    )


def checkpoint(name: str) -> Checkpoint:
    """The `Checkpoint` of a model."""
    folder = model_folder(name)
    try:
        return load(folder)
    except CheckpointError as error:
        raise UserError(f"Checkpoint {folder} cannot be read: {error}") from error


def network(model: str, loaded: Checkpoint, fmt: NumberFormat | None = None) -> Network:
    """The integers of a model in a number format, by default the one that it was made for."""
    fmt = fmt or loaded.format
    try:
        return quantize(loaded, fmt)
    except ValueError as error:
        raise UserError(f"Model {model} cannot be quantised to {fmt}: {error}") from error


def model_config(name: str) -> ModelConfig:
    """Sizes of a shipped model, of a checkpoint folder, or of one of the named sizes."""
    if name in MODELS and not (EXAMPLES / name / "config.json").is_file():
        return MODELS[name]
    try:
        return checkpoint(name).model
    except UserError as error:
        if name in MODELS or pathlib.Path(name).exists():
            raise
        raise UserError(
            f"No model {name!r}; sizes are known of {', '.join(MODELS)}, "
            "or give the folder of a checkpoint"
        ) from error


def tokenizer(name: str, positions: int) -> SentenceTokenizer:
    """The tokenizer of a model."""
    folder = model_folder(name)
    try:
        return load_tokenizer(folder, positions, load_model(folder))
    except FileNotFoundError as error:
        raise UserError(f"Model {name} takes no text: {error}") from error


def samples(name: str) -> list[tuple[tuple[str, ...], int | None]]:
    """[((text,) or (text, second), label or None)] that travel with a model."""
    folder = model_folder(name)
    if not (folder / "samples.tsv").is_file():
        raise UserError(f"Model {name} has no sample sentences; give a TEXT")
    loaded = checkpoint(name)
    return read_samples(folder / "samples.tsv", loaded.model.classes, loaded.labels)


def hardware(name: str, settings: Sequence[str] = ()) -> HardwareConfig:
    """A configuration, changed by `settings` like "T=8", "format=int8", "units=span,exit".

    name : a named one, or a TOML file of the same settings, `base` a named one to begin with
    """
    base, own = (name, ()) if name in HARDWARE else _hardware_file(name)
    return changed_hardware(HARDWARE[base], (*own, *settings))


def changed_hardware(config: HardwareConfig, settings: Sequence[str]) -> HardwareConfig:
    """`config`, changed by settings as those of `hardware`."""
    changes = dict(_setting(text) for text in settings)
    try:
        return dataclasses.replace(config, **changes)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def _hardware_file(name):
    """(named configuration to begin with, settings) of a TOML file."""
    path = pathlib.Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise UserError(
            f"No hardware {name!r}; there is {', '.join(HARDWARE)}, or give a .toml file"
        )
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    base = values.pop("base", "ci")
    if base not in HARDWARE:
        raise UserError(f"{path}: base must be among {', '.join(HARDWARE)}, not {brief(base)}")
    for key, value in values.items():
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise UserError(f"{path}: {key} must be a number or a text, not {brief(value)}")
    return base, [f"{key}={value}" for key, value in values.items()]


def _settings_between(config: HardwareConfig, wanted: HardwareConfig) -> list[str]:
    """What --set takes to make `wanted` of `config`."""
    changed = {
        field.name: getattr(wanted, field.name)
        for field in dataclasses.fields(HardwareConfig)
        if getattr(wanted, field.name) != getattr(config, field.name)
    }
    if "format" in changed:
        changed["format"] = _short(changed["format"])
    if "units" in changed:
        changed["units"] = ",".join(unit for unit in UNITS if unit in changed["units"])
    return [f"{name}={value}" for name, value in changed.items()]


def would_fit(network: Network, config: HardwareConfig) -> str:
    """What the user can type to make a model fit; empty where nothing helps."""
    from firmware.fit import enlarged

    wanted = enlarged(network, config)
    settings = _settings_between(config, wanted) if wanted else []
    options = " ".join(f"--set {setting}" for setting in settings)
    return f"It would fit with {options}" if options else ""


def does_not_fit(
    model: str, hw: str, network: Network, config: HardwareConfig, error: Exception
) -> UserError:
    """What the compiler says about a model on some hardware, and what the user can type."""
    lines = (f"Model {model}, hardware {hw}: {error}", would_fit(network, config))
    return UserError("\n".join(filter(None, lines)))


def hardware_for(
    fmt: NumberFormat, name: str, settings: Sequence[str] = ()
) -> tuple[HardwareConfig, list[str]]:
    """(`hardware` with the number format of a model, what a user should know about it).

    A format that the settings name stays; the compiler refuses a model of another.
    """
    config = hardware(name, settings)
    named = any(text.partition("=")[0] == "format" for text in settings)
    if named or config.format == fmt:
        return config, []
    note = (
        f"Hardware {name} is taken with the model's number format, {fmt}: "
        f"terse verilog --hw {name} --set format={_short(fmt)}"
    )
    return dataclasses.replace(config, format=fmt), [note]


def _short(fmt):
    return f"{fmt.bits},{fmt.exponent}" if fmt.is_adaptivfloat else "int8"


def _setting(text):
    """Parse NAME=VALUE -> (HardwareConfig field, value); UserError when it is none."""
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
    if not value.isdecimal() or len(value) > LONGEST_NUMBER:
        raise UserError(f"Setting {name} must be a number, not {brief(value)}")
    return name, int(value)


def number_format(text: str) -> NumberFormat:
    """The format of "int8" or "bits,exponent", also written <8,3> or af8,3."""
    if text == "int8":
        return NumberFormat(8, 0)
    parts = text.removeprefix("af").strip("<>").split(",")
    if len(parts) != 2 or not all(
        part.isdecimal() and len(part) <= LONGEST_NUMBER for part in parts
    ):
        raise UserError(
            f"Setting format must be int8 or bits,exponent (for example 8,3), not {text!r}"
        )
    try:
        return NumberFormat(*map(int, parts))
    except ValueError as error:
        raise UserError(str(error)) from error
