# SPDX-License-Identifier: Apache-2.0
"""The C driver, compiled for the host, against a register file in C (tests/driver)."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware import generate

ROOT = Path(__file__).parent.parent
DRIVER = ROOT / "firmware" / "driver"
FAKE = Path(__file__).parent / "driver"
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O1"]
SCENARIOS = re.findall(r'\{"(\w+)", test_', (FAKE / "main.c").read_text())

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def compile_c(folder, *arguments):
    (folder / "terse_regs.h").write_text(generate.c_header())
    subprocess.run(["gcc", *FLAGS, *map(str, arguments), f"-I{folder}", f"-I{DRIVER}"], check=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    compile_c(folder, f"-I{FAKE}", FAKE / "main.c", DRIVER / "terse.c", "-o", folder / "program")
    return folder / "program"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_driver(program, scenario):
    result = subprocess.run([program, scenario], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_driver_compiles_for_hardware(tmp_path):
    compile_c(tmp_path, "-c", DRIVER / "terse.c", "-o", tmp_path / "terse.o")


def test_functions_are_short():
    bodies = re.findall(r"^\{\n.*?^\}", (DRIVER / "terse.c").read_text(), re.MULTILINE | re.DOTALL)
    assert len(bodies) > 15 and max(len(body.splitlines()) for body in bodies) <= 30
