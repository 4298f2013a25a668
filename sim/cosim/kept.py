# SPDX-License-Identifier: Apache-2.0
"""Small files under build/ that later runs read: they appear whole or not at all.

A file that is empty, cut or no text, as a lost power supply leaves it, counts as absent.
"""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["put", "read_entry", "read_text", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then put it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    put(partial, path)


def put(partial: Path, path: Path) -> None:
    """Move a file that is complete to its place, after its content has reached the disk."""
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_text(path: Path) -> str | None:
    """The text of a file, None where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip("\0\n ") or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def read_entry(path: Path) -> Any:
    """The value of a JSON file, None where there is none."""
    text = read_text(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
