# SPDX-License-Identifier: Apache-2.0
"""A program without an operating system for the CPU of `hw/board/soc.py`: the C driver at work."""

import pathlib
import shutil
import subprocess
from collections.abc import Sequence

from firmware.generate import driver_files

__all__ = ["COMPILER", "build_program", "sentences_header"]

COMPILER = "riscv64-unknown-elf-gcc"
SOURCES = ("main.c", "start.S", "link.ld")
OPTIONS = ("-march=rv32imc", "-mabi=ilp32", "-std=c99", "-Os", "-ffreestanding", "-nostdlib", "-I.")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wcast-align", "-Werror")


def sentences_header(sentences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> str:
    """`sentences.h`: the token and segment ids that the program asks for."""
    lines = ["#include <stdint.h>", f"#define SENTENCES {len(sentences)}u"]
    lengths = ", ".join(f"{len(ids)}u" for ids, _ in sentences)
    lines.append(f"static const uint32_t lengths[] = {{{lengths}}};")
    for name, index in (("ids", 0), ("segments", 1)):
        numbers = ", ".join(f"{int(n)}u" for one in sentences for n in one[index])
        lines.append(f"static const uint32_t {name}[] = {{{numbers}}};")
    return "\n".join(lines) + "\n"


def build_program(
    folder: pathlib.Path, sentences: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> bytes:
    """The program's bytes from address 0 on, compiled in `folder` for RV32IMC.

    Raises FileNotFoundError without the compiler, CalledProcessError where it refuses.
    """
    if shutil.which(COMPILER) is None:
        raise FileNotFoundError(f"{COMPILER} is not installed (Debian: gcc-riscv64-unknown-elf)")
    folder.mkdir(parents=True, exist_ok=True)
    here = pathlib.Path(__file__).parent
    for name in SOURCES:
        shutil.copy(here / name, folder / name)
    files = driver_files()
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "sentences.h").write_text(sentences_header(sentences))
    sources = ["start.S", "main.c", *(name for name in files if name.endswith(".c"))]
    linked = ["-Wl,-Tlink.ld", "-Wl,--gc-sections", "-lgcc", "-o", "program.elf"]
    _call(folder, COMPILER, *OPTIONS, *WARNINGS, *sources, *linked)
    copy = COMPILER.replace("gcc", "objcopy")
    _call(folder, copy, "-O", "binary", "program.elf", "program.bin")
    return (folder / "program.bin").read_bytes()


def _call(folder, *command):
    subprocess.run(command, cwd=folder, check=True)
