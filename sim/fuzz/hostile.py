# SPDX-License-Identifier: Apache-2.0
"""The C driver before a machine that answers anything, under gcc's sanitizers.

`driver/fuzz.c` has the cases; they are compiled and run here, some hundred in a process.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from firmware.generate import driver_files
from sim.cosim.c_driver import RESULTS
from sim.fuzz.target import FuzzTally

__all__ = ["compile_fuzzer", "fuzz_driver"]

FOLDER = Path(__file__).parent / "driver"
FLAGS = ["-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-O1"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CHUNK = 250  # cases of one process
SECONDS = 60  # for one process


def compile_fuzzer(folder: Path) -> Path:
    """The program, made in `folder` from today's driver."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError(
            "The fuzzer of the C driver needs gcc (Debian: apt-get install gcc)"
        )
    for name, text in driver_files().items():
        if name != "terse_mmio.h":
            (folder / name).write_text(text)
    program = folder / "fuzz"
    sources = [FOLDER / "fuzz.c", *sorted(folder.glob("*.c"))]
    places = [f"-I{FOLDER}", f"-I{folder}"]
    subprocess.run(
        [compiler, *FLAGS, *SANITIZED, *places, *sources, "-o", program], check=True, text=True
    )
    return program


def _chunk(program, seed, first, count):
    """(output, what went wrong or None) of some cases."""
    try:
        done = subprocess.run(
            [program, str(seed), str(first), str(count)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"not done after {SECONDS} s"
    return done.stdout, done.stderr or f"exit status {done.returncode}" if done.returncode else None


def _add(tally, output, cases):
    """Count what terse_init said of each machine, and what all calls returned."""
    for name, line in zip(RESULTS, output.splitlines(), strict=True):
        ended, returned = map(int, line.split())
        tally.returned[name] += returned
        if name == "OK":
            tally.accepted += ended
        elif ended:
            tally.errors[name] += ended
    tally.cases += cases


def fuzz_driver(seed: int, numbers: range) -> Iterator[FuzzTally]:
    """Cases of the driver; yields the tally so far.

    A machine that terse_init takes counts as accepted.
    """
    tally = FuzzTally()
    with tempfile.TemporaryDirectory() as folder:
        program = compile_fuzzer(Path(folder))
        first = numbers.start
        while first < numbers.stop:
            count = min(CHUNK, numbers.stop - first)
            output, wrong = _chunk(program, seed, first, count)
            if wrong is None:
                _add(tally, output, count)
            else:
                found = re.search(r"^case (\d+)$", wrong, re.MULTILINE)
                count = int(found[1]) - first if found else 0
                if count:
                    _add(tally, _chunk(program, seed, first, count)[0], count)
                tally.failures.append((first + count, wrong))
                tally.cases += 1
                count += 1
            first += count
            yield tally
