# SPDX-License-Identifier: Apache-2.0
"""Files under build/ after a lost power supply: empty, cut and foreign ones count as absent."""

import pytest

from sim.cosim import build as building
from sim.cosim.kept import read_entry, read_text, write_text


class Config:
    """All that `build` wants of a configuration."""

    config_hash = 7


def make(config):
    """Stands for an elaboration."""


@pytest.fixture
def builds(monkeypatch, tmp_path):
    """Libraries are small files; the list counts the elaborations."""
    count = []

    def library(text, kind="run"):
        path = tmp_path / "made" / building.LIBRARY
        path.parent.mkdir(exist_ok=True)
        path.write_text("library")
        return path

    monkeypatch.setattr(building, "BUILD", tmp_path)
    monkeypatch.setattr(building, "verilog", lambda component, top: count.append(1) or "text")
    monkeypatch.setattr(building, "library", library)
    return count


def entry(tmp_path):
    """The one file of the index."""
    (found,) = (path for path in (tmp_path / "index").iterdir() if path.is_file())
    return found


def test_one_elaboration(builds, tmp_path):
    first = building.build(Config, make)
    assert building.build(Config, make) == first and len(builds) == 1
    assert entry(tmp_path).read_text() == str(first)


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"\xff\xfe", b"/", b"/tmp", b"/no/cosim.so"])
def test_damaged_entry(builds, tmp_path, content):
    first = building.build(Config, make)
    entry(tmp_path).write_bytes(content)
    assert building.build(Config, make) == first and len(builds) == 2
    assert building.build(Config, make) == first and len(builds) == 2


def test_empty_library(builds, tmp_path):
    first = building.build(Config, make)
    first.write_bytes(b"")
    assert building.build(Config, make) == first and len(builds) == 2


@pytest.mark.parametrize("content", [b"", b"\0\0", b"{", b'{"a": ', b"\xff"])
def test_damaged_json(tmp_path, content):
    path = tmp_path / "new" / "value.json"
    assert read_entry(path) is None and read_text(path) is None
    write_text(path, '{"a": 1}')
    assert read_entry(path) == {"a": 1} and [one.name for one in path.parent.iterdir()] == [
        path.name
    ]
    path.write_bytes(content)
    assert read_entry(path) is None


def test_nothing_is_replaced_by_half_a_file(tmp_path, monkeypatch):
    """The disk is full: what was there stays."""
    path = tmp_path / "value.json"
    write_text(path, "1")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.cosim.kept.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "2")
    assert read_entry(path) == 1
