# SPDX-License-Identifier: Apache-2.0
"""All shapes of the array, bit-exact, or some of them.

    python -m sim.proof.every_shape [64x4 4x64 ..]

For each T x P the accelerator with room for `tiny` and eight sentences is elaborated and compiled,
then takes random sentences through random networks, every traced tensor compared: `nano` with
dropped tokens, early exits, a dead head and stalled memories, `tiny` with long sentences. One line
a shape.

Shapes that were bit-exact are kept under build/shapes/, named by everything that they depend on:
after Ctrl-C the rest goes on.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass

from firmware.compiler import CompileError
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.cosim import build
from sim.cosim.kept import read_entry, write_text
from sim.proof.check import check, traced

__all__ = ["RUNS", "SHAPES"]

SHAPES = (
    (64, 4),
    (32, 8),
    (16, 16),
    (8, 32),
    (4, 64),
    (2, 2),
    (4, 4),
    (8, 8),
    (32, 32),
)  # T x P: 256 MACs; n x n
STORE = build.ROOT / "build" / "shapes"
DEPENDS = (
    *(f"proof/{name}.py" for name in ("every_shape", "check", "compare", "mirror")),
    *(f"cosim/{name}" for name in ("session.py", "cosim.py", "taps.py", *build.RUNTIME)),
)
ROWS, SLOTS = 128, 8
STOPPED = 130  # exit status after Ctrl-C, as shells have it


@dataclass(frozen=True)
class Run:
    """A random network of a model's size and its queue of sentences of `shortest` tokens and more.

    `behave` of both memories.
    """

    model: str
    sentences: int
    shortest: int
    checkpoint: dict
    behave: dict = dataclasses.field(default_factory=dict)

    def outcome(self, hardware, number, watch):
        """`sim.proof.check.Outcome`; everything random follows from the number."""
        sizes = dataclasses.replace(MODELS[self.model], vocabulary=64)
        network = quantize(random_checkpoint(sizes, number, **self.checkpoint), hardware.format)
        return check(
            network,
            hardware,
            random_sentences(sizes, self.sentences, number, self.shortest),
            behave=self.behave,
            watch=watch,
        )


RUNS = (
    Run("nano", 16, 1, {"eta": 0.8, "exit_threshold": 1.0}),
    Run(
        "nano",
        12,
        9,
        {"eta": 0.0, "exit_threshold": 0.0, "dead_heads": 1, "density": 1.0},
        {"latency": 20, "bytes_per_cycle": 2},
    ),
    Run(
        "nano",
        12,
        5,
        {"eta": 0.9, "exit_threshold": 0.9, "density": 0.2},
        {"latency": 5, "stall": 0.3, "seed": 1},
    ),
    Run("tiny", 4, 20, {"eta": 0.5, "exit_threshold": 0.6, "density": 0.4}),
)


@dataclass(frozen=True)
class Result:
    """Of one shape: values compared, cycles, and what is not as the golden model says."""

    values: int = 0
    cycles: int = 0
    failures: tuple = ()

    @property
    def text(self):
        return f"{self.values:,} values compared, {self.cycles:,} cycles, " + (
            "; ".join(self.failures) or "bit-exact"
        )


def config(tokens, columns):
    """The hardware of a shape."""
    return dataclasses.replace(
        HARDWARE["ci"], tokens=tokens, columns=columns, rows=ROWS, slots=SLOTS
    )


def shape(text):
    """(T, P) from "TxP", one of `SHAPES`."""
    found = [lanes for lanes in SHAPES if "{}x{}".format(*lanes) == text]
    if not found:
        raise argparse.ArgumentTypeError(
            f"shape must be one of {', '.join('{}x{}'.format(*lanes) for lanes in SHAPES)}, "
            f"not {text!r}"
        )
    return found[0]


def measure(lanes, watch=lambda text: None):
    """`Result` of a shape, kept where it is bit-exact; `watch` is told what happens."""
    path = STORE / f"{'{}x{}'.format(*lanes)}_{_key(lanes)}.json"
    try:
        return Result(**read_entry(path))
    except TypeError:  # there is none, or not one of ours
        pass
    try:
        result = _run(config(*lanes), watch)
    except (CompileError, build.BuildError) as error:
        result = Result(failures=(str(error),))
    if not result.failures:
        write_text(path, json.dumps(vars(result)))
    return result


def _key(lanes):
    """Digest of all that a result depends on."""
    words = [
        build.sources_digest(),
        f"{config(*lanes).config_hash:08x}",
        *((build.ROOT / "sim" / name).read_text() for name in DEPENDS),
    ]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def _run(hardware, watch):
    """Build the machine and check every run on it -> Result; `watch` takes lines of progress."""
    watch("elaborates, compiles")
    build.build(hardware, traced)
    values = 0
    cycles = 0
    failures = []
    for number, run in enumerate(RUNS, 1):
        what = f"{run.model}, run {number} of {len(RUNS)}"
        outcome = run.outcome(
            hardware,
            number,
            lambda done, total, cycle, what=what: watch(
                f"{what}: {done} of {total} layers, cycle {cycle:,}"
            ),
        )
        values, cycles = values + outcome.elements, cycles + outcome.cycles
        failures += [f"{what}: {text}" for text in outcome.failures[:1]]
    return Result(values, cycles, tuple(failures))


def main(arguments=None):
    """Check the shapes and print a line for each -> exit status: 0 if all of them are exact."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.proof.every_shape", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("shapes", type=shape, nargs="*", metavar="TxP", help="default: all")
    chosen = parser.parse_args(arguments).shapes or SHAPES
    exact = 0
    for number, lanes in enumerate(chosen, 1):
        name = "{:2} x {:<2}".format(*lanes)
        try:
            result = measure(
                lanes,
                lambda text, name=name, number=number: _progress(
                    f"{name}  shape {number} of {len(chosen)}: {text}"
                ),
            )
        except KeyboardInterrupt:
            _progress("")
            print(f"Stopped in {name.strip()}; the same command goes on from here")
            return STOPPED
        _progress("")
        print(f"{name}  {result.text}", flush=True)
        exact += not result.failures
    print(f"{exact} of {len(chosen)} shapes bit-exact")
    return int(exact < len(chosen))


def _progress(text):
    """One line that the next one overwrites, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
