# SPDX-License-Identifier: Apache-2.0
"""Where the text data lies that training, evaluation and long streams take (docs/data.md)."""

import os
import pathlib

__all__ = ["VARIABLE", "data_folder"]

VARIABLE = "TERSE_DATA"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def data_folder():
    """The folder that TERSE_DATA names; without it `data` here, or `shared/data` beside here.

    The path is given also if nothing is there.
    """
    if named := os.environ.get(VARIABLE):
        return pathlib.Path(named)
    here = ROOT / "data"
    beside = ROOT.parent / "shared" / "data"
    return beside if beside.is_dir() and not here.is_dir() else here
