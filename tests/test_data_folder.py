# SPDX-License-Identifier: Apache-2.0
"""Where text data is looked for, and what is said where it is not."""

import sys

import pytest

from compress.data import data_folder as folders
from terse import cli, fullsize


def test_order(tmp_path, monkeypatch):
    """The variable; data/ in the repository; shared/data/ beside it; else what should be there."""
    root = tmp_path / "terse"
    monkeypatch.setattr(folders, "ROOT", root)
    monkeypatch.delenv(folders.VARIABLE, raising=False)
    here, beside = root / "data", tmp_path / "shared" / "data"
    assert folders.data_folder() == here
    beside.mkdir(parents=True)
    assert folders.data_folder() == beside
    here.mkdir(parents=True)
    assert folders.data_folder() == here
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path))
    assert folders.data_folder() == tmp_path


def test_root_is_the_repository_s():
    assert (folders.ROOT / "compress" / "data" / "data_folder.py").is_file()


def test_eval_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(folders.VARIABLE, str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["terse", "eval"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert str(tmp_path / "sst2" / "train.tsv") in error and "TERSE_DATA" in error


def test_fullsize_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fullsize", "base", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        fullsize.main()
    assert stop.value.code == 2 and "docs/data.md" in capsys.readouterr().err
