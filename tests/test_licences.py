# SPDX-License-Identifier: Apache-2.0
"""The lock file has what pyproject.toml asks for, with hashes, and the page its licences."""

import re
import tomllib

import pytest

from sim.cosim.build import ROOT
from terse.packaging.licences import LOCK, UNLOCKED, is_copyleft, licence_of, locked

ROWS = {
    name: (version, licence)
    for name, version, licence in re.findall(
        r"^\| ([\w.-]+) \| ([\w.+-]+) \| (.*) \|$",
        (ROOT / "docs" / "licences.md").read_text(),
        re.MULTILINE,
    )
}


def test_every_pin_is_locked():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = dict(re.match(r"([\w-]+)(?:\[.*\])?==(.*)", one).groups() for one in asked)
    found = locked()
    assert {n: v for n, v in pins.items() if n not in UNLOCKED and found.get(n) != v} == {}


def test_every_locked_file_has_a_hash():
    for block in re.split(r"\n(?=\w)", LOCK.read_text()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("name", [*UNLOCKED, *locked()])
def test_page_has_what_is_installed(name):
    """Python and platform decide which of the locked ones are."""
    licence = licence_of(name)
    if licence is not None:
        assert ROWS[name][1] == licence, "run: make lock"
        assert licence, f"{name} states no licence"
        assert not is_copyleft(licence)


@pytest.mark.parametrize(
    "licence, wanted",
    [
        ("GPL-2.0-only", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("AGPL-3.0", True),
        ("LGPL-3.0-only OR Artistic-2.0", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MIT", False),
    ],
)
def test_copyleft(licence, wanted):
    assert is_copyleft(licence) == wanted
