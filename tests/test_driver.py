# SPDX-License-Identifier: Apache-2.0
"""The C driver: for the host, for C++ and for a small RISC-V; against a register file in C."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware import generate

ROOT = Path(__file__).parent.parent
DRIVER = ROOT / "firmware" / "driver"
SOURCES = sorted(DRIVER.glob("*.c"))
FAKE = Path(__file__).parent / "driver"
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wcast-align",
    "-Wshadow",
    "-pedantic",
    "-Werror",
]
C = ["gcc", "-std=c99", *WARNINGS]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TARGETS = {
    "host": [*C, "-O2", "-Wcast-align=strict"],
    "freestanding": [*C, "-O2", "-ffreestanding"],
    "cpp": ["g++", "-x", "c++", "-std=c++11", *WARNINGS, "-O2"],
    "rv32imc": [
        "riscv64-unknown-elf-gcc",
        "-std=c99",
        *WARNINGS,
        "-march=rv32imc",
        "-mabi=ilp32",
        "-O2",
        "-ffreestanding",
    ],
}
SCENARIOS = re.findall(r'\{"(\w+)", test_', (FAKE / "main.c").read_text())


def build(folder, compiler, *arguments):
    """Run a compiler of `TARGETS` where the generated header lies too."""
    if not shutil.which(compiler[0]):
        pytest.skip(f"{compiler[0]} is not installed")
    (folder / "terse_regs.h").write_text(generate.c_header())
    subprocess.run([*compiler, *map(str, arguments), f"-I{folder}", f"-I{DRIVER}"], check=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    sources = [FAKE / "main.c", *SOURCES]
    build(folder, [*C, *SANITIZED], f"-I{FAKE}", *sources, "-o", folder / "program")
    return folder / "program"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_driver(program, scenario):
    result = subprocess.run([program, scenario], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_compiles(tmp_path, target):
    for source in SOURCES:
        build(tmp_path, TARGETS[target], "-c", source, "-o", tmp_path / "driver.o")


@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_order_of_memory_and_registers(tmp_path, level):
    """With the barriers it passes; without them the optimiser breaks it, so the test can fail."""
    unit = [level, "-pthread", FAKE / "ordering.c", "-o", tmp_path / "program"]
    build(tmp_path, C, *unit)
    assert subprocess.run([tmp_path / "program"], timeout=60).returncode == 0
    if level != "-O0":
        header = (DRIVER / "terse_mmio.h").read_text()
        (tmp_path / "terse_mmio.h").write_text(header.replace("__atomic_thread_fence", "(void)"))
        build(tmp_path, C, *unit)
        assert subprocess.run([tmp_path / "program"], timeout=60).returncode != 0


def test_needs_nothing_but_itself(tmp_path):
    """A freestanding system has no C library: the objects refer to nothing but each other."""
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    wanted, found = set(), set()
    for source in SOURCES:
        build(tmp_path, TARGETS["freestanding"], "-c", source, "-o", tmp_path / "driver.o")
        listing = subprocess.check_output(["nm", tmp_path / "driver.o"], text=True)
        wanted |= set(re.findall(r" U (\w+)", listing))
        found |= set(re.findall(r" T (\w+)", listing))
    assert wanted - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"} <= found and len(found) > 20


def test_functions_are_short():
    text = "".join(source.read_text() for source in SOURCES)
    bodies = re.findall(r"^\{\n.*?^\}", text, re.MULTILINE | re.DOTALL)
    assert len(bodies) > 30 and max(len(body.splitlines()) for body in bodies) <= 30
