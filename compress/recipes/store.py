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

__all__ = ["Store", "fingerprint"]

LENGTH = 16  # hexadecimal digits of a fingerprint


def fingerprint(inputs: Any) -> str:
    """The name of what follows from `inputs`: JSON values and dataclasses, in any order of keys."""
    text = json.dumps(inputs, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


class Store:
    """A folder of results, KIND-FINGERPRINT.pt, each with its inputs as JSON beside it.

    A result appears whole or not at all; two runs may share the folder.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def path(self, kind: str, inputs: Any) -> Path:
        """Where the result of these inputs lies, or would."""
        return self.folder / f"{kind}-{fingerprint(inputs)}.pt"

    def has(self, kind: str, inputs: Any) -> bool:
        return self.path(kind, inputs).is_file()

    def kept(self, kind: str, inputs: Any, make) -> Any:
        """The result of `inputs`; `make()` computes it where there is none yet."""
        path = self.path(kind, inputs)
        if not path.is_file():
            value = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(inputs, sort_keys=True, indent=2, default=_plain)
            path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
            partial = path.with_suffix(f".partial{os.getpid()}")
            torch.save(value, partial)
            os.replace(partial, path)
        # What the store wrote itself: sections of tensors, lists and numbers.
        return torch.load(path, map_location="cpu", weights_only=True)
