# SPDX-License-Identifier: Apache-2.0
"""Mutants of everything that Terse reads: refused in one line, or good for use.

    python -m sim.fuzz --count 20000 --seed 1

A finding is printed with the command that shows it again. `--out FILE` writes the figures.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from rich.console import Console
from rich.progress import Progress

from sim.fuzz.alberts import ALBERT_TARGET
from sim.fuzz.checkpoints import CHECKPOINT_TARGET
from sim.fuzz.embeddings import EMBEDDING_TARGET
from sim.fuzz.hostile import fuzz_driver
from sim.fuzz.images import IMAGE_TARGET
from sim.fuzz.target import FuzzTally, fuzz_reader

__all__ = ["TARGETS"]

READERS = (IMAGE_TARGET, EMBEDDING_TARGET, CHECKPOINT_TARGET, ALBERT_TARGET)
TARGETS = {target.name: lambda *a, target=target: fuzz_reader(target, *a) for target in READERS}
TARGETS["driver"] = fuzz_driver


def _options():
    parser = argparse.ArgumentParser(prog="python -m sim.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20000, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS, action="append", help="a target")
    parser.add_argument("--first", type=int, default=0, help="the case to go on from")
    parser.add_argument("--case", type=int, help="one case, with all that it raises")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    return parser.parse_args()


def _show(seed, name, failures, shown):
    """Print findings that are not yet shown."""
    for number, text in failures[shown:]:
        print(f"{text}\nAgain: python -m sim.fuzz --only {name} --seed {seed} --case {number}\n")
    sys.stdout.flush()
    return len(failures)


def _run(name, options, progress):
    """The tally of one target's cases."""
    numbers = range(options.first, options.count)
    if options.case is not None:
        numbers = range(options.case, options.case + 1)
    bar = progress.add_task(name, total=len(numbers))
    tally, shown = FuzzTally(), 0
    try:
        for tally in TARGETS[name](options.seed, numbers):
            shown = _show(options.seed, name, tally.failures, shown)
            progress.update(bar, completed=tally.cases)
    except KeyboardInterrupt:
        sys.exit(f"Stopped; to go on: --only {name} --first {numbers.start + tally.cases}")
    return tally


def _write(path, options, tallies):
    """The figures, with those of other targets that the file has of the same seed and count."""
    page = {"count": options.count, "seed": options.seed, "targets": {}}
    if path.is_file():
        before = json.loads(path.read_text())
        if (before["count"], before["seed"]) == (options.count, options.seed):
            page["targets"] = before["targets"]
    page["targets"] |= {name: tally.to_json() for name, tally in tallies.items()}
    page["failures"] = sum(one["failures"] for one in page["targets"].values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page, indent=1, sort_keys=True) + "\n")


def main():
    """All targets, or some; exit status 1 where there was a finding."""
    options = _options()
    torch.set_num_threads(1)
    console = Console(stderr=True)
    tallies = {}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        for name in options.only or TARGETS:
            tallies[name] = tally = _run(name, options, progress)
            print(
                f"{name}: {tally.cases:,} cases, {tally.accepted:,} accepted, "
                f"{tally.refused:,} refused, {len(tally.failures)} failures"
            )
            print("".join(f"  {count:6} {kind}\n" for kind, count in tally.errors.most_common()))
    if options.out is not None and not options.first and options.case is None:
        _write(options.out, options, tallies)
    sys.exit(any(tally.failures for tally in tallies.values()))


if __name__ == "__main__":
    main()
