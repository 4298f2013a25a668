# SPDX-License-Identifier: Apache-2.0
"""Two files of named tensors, compared: integers and text, which are equal or not."""

import pathlib

import numpy as np

from terse.errors import UserError

__all__ = ["compare"]

INTEGERS, TEXT = "biu", "U"  # kinds of numpy's types


def _read(path):
    """{name: array} of an .npz file of integers and text."""
    with open(path, "rb") as opened:  # an OSError of this tells enough
        try:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, .npy")
            arrays = {name: file[name] for name in file.files}
        except Exception as error:  # of a damaged file numpy and zipfile raise nearly any
            text = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path} is no .npz file of plain arrays: {text}") from error
    for name, array in arrays.items():
        kind = array.dtype if isinstance(array, np.ndarray) else "bytes"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in INTEGERS + TEXT:
            raise UserError(f"{path}: {name} must hold integers or text, not {kind}")
    return arrays


def compare(first: str | pathlib.Path, second: str | pathlib.Path) -> tuple[list[str], int]:
    """(one line for each array that differs, number of arrays) of two .npz files.

    Raises UserError where a file is none, or holds anything but integers and text: floats have
    no place in a comparison bit for bit.
    """
    a, b = _read(first), _read(second)
    lines = [
        line
        for name in [*a, *(name for name in b if name not in a)]
        if (line := _difference(name, a.get(name), b.get(name)))
    ]
    return lines, len(a.keys() | b.keys())


def _difference(name, a, b):
    """The first difference of two arrays as text, None where there is none."""
    if a is None or b is None:
        return f"{name} is only in {'the second' if a is None else 'the first'} file"
    kinds = ["text" if array.dtype.kind == TEXT else "integers" for array in (a, b)]
    if kinds[0] != kinds[1]:
        return f"{name} holds {kinds[0]} in the first file, {kinds[1]} in the second"
    if a.shape != b.shape:
        return f"{name} has shape {a.shape} in the first file, {b.shape} in the second"
    wrong = np.argwhere(a != b)
    if not len(wrong):
        return None
    index = tuple(int(i) for i in wrong[0])
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return (
        f"{place} is {a[index]} in the first file, {b[index]} in the second "
        f"({len(wrong)} of {a.size} values differ)"
    )
