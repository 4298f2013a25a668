# SPDX-License-Identifier: Apache-2.0
"""Two files of named tensors, compared."""

import zipfile

import numpy as np

from terse.errors import UserError

__all__ = ["compare"]


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} is no .npz file of plain arrays: {error}") from error


def compare(first, second):
    """(one line for each array that differs, number of arrays)."""
    a, b = _read(first), _read(second)
    lines = [
        line
        for name in [*a, *(name for name in b if name not in a)]
        if (line := _difference(name, a.get(name), b.get(name)))
    ]
    return lines, len(a.keys() | b.keys())


def _difference(name, a, b):
    if a is None or b is None:
        return f"{name} is only in {'the second' if a is None else 'the first'} file"
    if a.shape != b.shape:
        return f"{name} has shape {a.shape} in the first file, {b.shape} in the second"
    wrong = np.argwhere(a != b)
    if not len(wrong):
        return None
    index = tuple(int(i) for i in wrong[0])
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return f"{place} is {a[index]} in the first file, {b[index]} in the second ({len(wrong)} of {a.size} values differ)"
