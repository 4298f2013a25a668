# SPDX-License-Identifier: Apache-2.0
"""JSON and safetensors files that others wrote: read, or refused in one line."""

import json
import textwrap
from pathlib import Path

import torch
from safetensors.torch import load_file

from golden_model.config import brief

__all__ = ["one_line", "read_json", "read_safetensors"]


def one_line(error: BaseException) -> str:
    """Kind and text of another library's exception, without line breaks and not too long."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")


def read_json(path: Path, kind: type[ValueError]) -> dict:
    """The object of a JSON file in UTF-8, with or without a byte-order mark.

    Raises `kind` where it is no JSON, no object or nested too deeply, OSError where it cannot be
    opened.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise kind(f"{path} must be JSON, it is nested too deeply") from None
    except ValueError as error:
        raise kind(f"{path} must be JSON: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise kind(f"{path} must be a JSON object, not {brief(values)}")
    return values


def read_safetensors(path: Path, kind: type[ValueError]) -> dict[str, torch.Tensor]:
    """{name: tensor} of a safetensors file; raises `kind` where it is empty, cut or damaged."""
    try:
        return load_file(path)
    except Exception as error:  # the library raises many kinds, Exception among them
        raise kind(
            f"{path} cannot be read, it is damaged or truncated: {one_line(error)}"
        ) from error
