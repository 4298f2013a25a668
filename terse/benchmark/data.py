# SPDX-License-Identifier: Apache-2.0
"""The data that long streams are taken from, where it is there (docs/data.md)."""

import functools

from compress.data.data_folder import data_folder
from compress.data.tasks import find_task
from compress.data.text_files import DataError

__all__ = ["DATA", "has_data"]


DATA = data_folder()


@functools.cache
def has_data():
    """Whether SST-2's dev split is there."""
    try:
        return find_task("sst2", DATA).file("dev").is_file()
    except DataError:
        return False
