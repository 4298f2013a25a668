# SPDX-License-Identifier: Apache-2.0
"""What is measured block by block on its benches, each in a process of its own, kept as it comes.

The outcomes are a JSON file of docs/evidence/. A block whose source is as it was then is not
measured again. A part without a bench is measured on the bench that covers it.
"""

import argparse
import ast
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sim.bench.blocks import blocks, find_bench, parts
from sim.cosim.build import ROOT
from sim.cosim.processes import following

__all__ = ["BlockRuns", "digest_of", "module_of", "run_benches", "sources"]

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def module_of(path) -> str:
    """The name by which a block's source is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def digest_of(path) -> str:
    """Of a block's source, without docstrings, and lines that are empty or a comment."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            first, last = node.body[0].lineno - 1, node.body[0].end_lineno
            lines[first:last] = [""] * (last - first)
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def sources() -> dict:
    """{block: (its source, the benches that cover it)}."""
    covered = parts()
    return {
        block: (path, [bench] if bench else [find_bench(name) for name in covered[block]])
        for block, path, _, bench in blocks()
    }


def run_benches(block):
    """The pytest functions of a block's benches; ends the process where one fails."""
    if pytest.main(["-q", "-x", "-p", "no:cacheprovider", *map(str, sources()[block][1])]):
        raise SystemExit(f"{block}: its bench does not run")


@dataclass(frozen=True)
class BlockRuns:
    """A command: `python -m module [BLOCK ...] [--most N] [--again]`.

    name : of the file in docs/evidence/
    measure : (block, most) -> what is kept of it, besides the digest of its source
    describe : that -> text
    most : how much of a block without --most; 0 where there is no such choice
    enough : (what is kept, most) -> whether it was as much then
    """

    name: str
    module: str
    measure: Callable[[str, int], dict]
    describe: Callable[[dict], str]
    most: int = 0
    enough: Callable[[dict, int], bool] = lambda old, most: True

    @property
    def path(self) -> pathlib.Path:
        return ROOT / "docs" / "evidence" / f"{self.name}.json"

    def outcomes(self) -> dict:
        """{block: what is kept of it}."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def main(self, description):
        """Block by block; one that fails says so and is left out."""
        arguments = self._arguments(description)
        if arguments.into:
            block = arguments.blocks[0]
            outcome = {"digest": digest_of(sources()[block][0])}
            outcome |= self.measure(block, arguments.most)
            arguments.into.write_text(json.dumps(outcome))
            return
        for block in arguments.blocks or sources():
            if arguments.again or not self._fresh(block, arguments.most):
                self._run(block, arguments.most)

    def _arguments(self, description):
        """What the command line asks for; ends the process where it names no block."""
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawTextHelpFormatter
        )
        parser.add_argument("blocks", nargs="*", help="all without")
        if self.most:
            parser.add_argument(
                "--most", type=int, default=self.most, help="mutants of a block, by chance"
            )
        else:
            parser.set_defaults(most=0)
        parser.add_argument(
            "--again", action="store_true", help="blocks that have not changed, too"
        )
        parser.add_argument("--into", type=pathlib.Path, help=argparse.SUPPRESS)
        arguments = parser.parse_args()
        known = sources()
        unknown = set(arguments.blocks) - known.keys()
        if unknown:
            parser.error(f"blocks must be of {', '.join(known)}, not {', '.join(sorted(unknown))}")
        return arguments

    def _fresh(self, block, most):
        old = self.outcomes().get(block)
        return old and old["digest"] == digest_of(sources()[block][0]) and self.enough(old, most)

    def _run(self, block, most):
        """In another process, which has not imported the block."""
        with tempfile.TemporaryDirectory() as folder:
            into = pathlib.Path(folder, "outcome.json")
            command = [sys.executable, "-m", self.module, block, "--into", into]
            command += ["--most", str(most)] if self.most else []
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, preexec_fn=following()
            )
            if done.returncode:
                print(f"{block}: {(done.stdout + done.stderr)[-3000:]}", file=sys.stderr)
                return
            outcome = json.loads(into.read_text())
        self._keep(block, outcome)
        print(f"{block:16} {self.describe(outcome)}", flush=True)

    def _keep(self, block, outcome):
        """Write it beside the others at once: the next block may take minutes."""
        outcomes = dict(sorted((self.outcomes() | {block: outcome}).items()))
        self.path.write_text(json.dumps(outcomes, indent=1, ensure_ascii=False) + "\n")
