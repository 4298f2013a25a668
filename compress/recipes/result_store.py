# SPDX-License-Identifier: Apache-2.0
"""Results that are kept under the fingerprint of all that they came from.

A result is found again only by equal inputs: settings, data, seed, versions, and the fingerprints
of the results it was made of. So nothing stale is ever taken, and recipes share what they have in
common.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from compress.data.text_files import DataError

__all__ = ["ResultStore", "fingerprint"]

LENGTH = 16  # hexadecimal digits of a fingerprint


def fingerprint(inputs: Any) -> str:
    """The name of what follows from `inputs`: JSON values and dataclasses, in any order of keys."""
    text = json.dumps(inputs, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


class ResultStore:
    """A folder of results, KIND-FINGERPRINT.pt, each with its inputs as JSON beside it.

    A result appears whole or not at all; two runs may share the folder.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def path(self, kind: str, inputs: Any) -> Path:
        """Where the result of these inputs lies, or would."""
        return self.folder / f"{kind}-{fingerprint(inputs)}.pt"

    def kept(self, kind: str, inputs: Any, make) -> Any:
        """The result of `inputs`; `make()` computes it where there is none yet.

        Raises DataError where the file of that name holds a result of other inputs.
        """
        path = self.path(kind, inputs)
        text = json.dumps(inputs, sort_keys=True, indent=2, default=_plain) + "\n"
        account = path.with_suffix(".json")
        if not path.is_file():
            value = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            account.write_text(text, encoding="utf-8")
            partial = path.with_suffix(f".partial{os.getpid()}")
            torch.save(value, partial)
            os.replace(partial, path)
        elif not account.is_file() or account.read_text(encoding="utf-8") != text:
            raise DataError(f"{path} must be the result of what {account.name} says; delete it")
        # What the store wrote itself: sections of tensors, lists and numbers.
        return torch.load(path, map_location="cpu", weights_only=True)
