# SPDX-License-Identifier: Apache-2.0
"""Choosing hardware on the command line, and the files that belong to it."""

import pathlib
import subprocess

import pytest

from golden_model.config import NumberFormat
from golden_model.hardware import HARDWARE
from sim.synthesis.timing import Route, Timing
from terse import catalog
from terse.errors import UserError
from terse.timing import against


def test_settings():
    config = catalog.hardware(
        "ci", ("T=8", "P=2", "bus=64", "format=int8", "units=none", "multiplier=fabric")
    )
    assert (config.tokens, config.columns, config.bus_bits) == (8, 2, 64)
    assert (config.format, config.units, config.multiplier) == (
        NumberFormat(8, 0),
        frozenset(),
        "fabric",
    )
    assert catalog.hardware("ci", ("units=all",)) == HARDWARE["ci"]
    assert catalog.hardware("ci", ("format=<6,2>",)).format == NumberFormat(6, 2)


def test_hardware_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "ecp5"\nT = 4\nunits = "span,exit"\nformat = "int8"\n')
    config = catalog.hardware(str(path), ("P=2",))
    assert (config.tokens, config.columns, config.rows) == (4, 2, HARDWARE["ecp5"].rows)
    assert (config.units, config.format) == ({"span", "exit"}, NumberFormat(8, 0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("T = ", "Invalid value"),
        ('base = "asic"', "base must be among ci, ecp5, edgebert, not 'asic'"),
        ("T = [8]", "T must be a number or a text, not [8]"),
        ("slots = true", "slots must be a number or a text, not True"),
        ("lanes = 8", "Setting must be NAME=VALUE with NAME among"),
        ("T = 7", "Hardware rows must be a multiple of tokens (7)"),
    ],
)
def test_hardware_file_refused(terse, tmp_path, text, reason):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    status, out, err = terse("config", "--hw", path)
    assert (status, out) == (2, "") and reason in err and err.count("\n") == 1
    status, _, err = terse("config", "--hw", tmp_path / "none.toml")
    assert status == 2 and "or give a .toml file" in err


def test_what_would_fit_can_be_typed(terse, model, tmp_path):
    """The options that a refusal names make the same command work."""
    image = tmp_path / "nano.img"
    command = ["compile", "--model", model, "-o", image]
    small = [word for text in ("hidden=16", "layers=2", "units=drop") for word in ("--set", text)]
    status, _, err = terse(*command, *small)
    last = err.rstrip().splitlines()[-1]
    assert status == 2 and last.startswith("It would fit with --set ") and not image.exists()
    assert terse(*command, *small, *last.removeprefix("It would fit with ").split())[0] == 0
    assert terse("config", "--model", model, *small)[1].splitlines()[-2] == last


def test_driver(terse, tmp_path):
    """The folder compiles alone; nothing is written over."""
    folder = tmp_path / "made" / "driver"
    status, out, _ = terse("driver", "-o", folder)
    assert status == 0 and {pathlib.Path(line).name for line in out.splitlines()} == {
        path.name for path in folder.iterdir()
    }
    for source in folder.glob("*.c"):
        command = ["gcc", "-std=c99", "-Werror", "-c", source, f"-I{folder}", "-o", tmp_path / "o"]
        subprocess.run(command, check=True)
    status, _, err = terse("driver", "-o", folder)
    assert status == 2 and "has terse.c, terse.h" in err and err.count("\n") == 1


def test_compile_and_show(terse, model, tmp_path):
    image = tmp_path / "nano.img"
    assert terse("compile", "--model", model, "-o", image)[0] == 0
    status, out, _ = terse("image", "show", image)
    assert status == 0 and "(ci)" in out and "ADMIT" in out
    status, out, _ = terse("image", "show", f"{image}.emb")
    assert status == 0 and "vocabulary 64" in out
    image.write_bytes(image.read_bytes()[:-32])
    status, _, err = terse("image", "show", image)
    assert status == 2 and "Image must have" in err


def test_config_says_what_does_not_fit(terse):
    _, out, _ = terse("config", "--hw", "ci", "--model", "base")
    assert "too small" in out and "does not fit" in out
    _, out, _ = terse("config", "--hw", "edgebert", "--model", "base")
    assert "too small" not in out and "does not fit" not in out
    assert out.count(" fits ") == 8 and out.endswith("fits\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--block", "alu"), "No block 'alu'; there is array, store, norm"),
        (("--device", "12k"), "--device must be 25k, 45k, 85k, not 12k"),
        (("--seeds", 0), "--seeds must be in 1..100, not 0"),
        (("--hw", "asic"), "No hardware 'asic'"),
    ],
)
def test_timing_refused(terse, arguments, text):
    status, out, err = terse("timing", *arguments)
    assert (status, out) == (2, "") and text in err and err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 5}', '{"rows": {"best": "fast"}}'])
def test_baseline_refused(tmp_path, text):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(UserError, match="must be a file that --json wrote"):
        against([], path)


def test_baseline(tmp_path, terse, monkeypatch):
    """What is slower is told, and the exit status says so."""
    path = tmp_path / "baseline.json"
    path.write_text('{"rows": {"best": 90.0}, "drop": {"best": 60.0}}')
    route = Route(1, 80.0, ("rows",), 12.5, 5.0)
    found = [Timing("ci", "rows", "85k", (route,), {"TRELLIS_FF": (181, 83640)})]
    monkeypatch.setattr("terse.timing.time_blocks", lambda *arguments: found)
    status, out, _ = terse("timing", "--block", "rows", "--baseline", path)
    assert status == 1 and "rows: 80.0 MHz, 11 % below the baseline's 90.0 MHz" in out
    assert terse("timing", "--block", "rows")[0] == 0
