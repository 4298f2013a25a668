# SPDX-License-Identifier: Apache-2.0
"""The data that long streams are taken from, where it is there (docs/data.md)."""

import functools

from compress.data import DataError, find_split
from compress.data_folder import data_folder

__all__ = ["DATA", "has_data"]


DATA = data_folder()


@functools.cache
def has_data():
    """Whether SST-2's dev split is there."""
    try:
        return find_split(DATA, "sst2", "dev").is_file()
    except DataError:
        return False
