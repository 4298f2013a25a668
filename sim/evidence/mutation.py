# SPDX-License-Identifier: Apache-2.0
"""How many mutants of each block its bench finds.

    python -m sim.evidence.mutation                       # all blocks; hours
    python -m sim.evidence.mutation token_drop dma        # these
    python -m sim.evidence.mutation token_drop --most 500 --again

Outcomes are kept in docs/evidence/mutation.json.
"""

import dataclasses
import json
import random
import time
from collections import Counter

from amaranth.hdl import Elaboratable
from amaranth.lib.wiring import In, Signature

from hw.verilog import verilog
from sim.bench import harness
from sim.bench.simulated import BUILD
from sim.evidence.block_runs import BlockRuns, module_of, run_benches, sources
from sim.evidence.mutants import SELECT, Instrumented, changes_of

__all__ = ["MUTATION", "WithMutant"]

MOST = 40  # mutants of a block
OFTEN = 16  # mutants between two runs of the block itself


class WithMutant(Elaboratable):
    """A component that has the input `mutant` besides its own ports."""

    def __init__(self, component):
        self._component = component
        members = component.signature.members
        self.signature = Signature({**members, "mutant": In(SELECT.shape())})
        self.mutant = SELECT

    def __getattr__(self, name):
        return getattr(self._component, name)

    def elaborate(self, platform):
        return self._component


class Hunt:
    """The mutants of the module `name` that benches find.

    most : how many, drawn by chance; the first benches have the first choice
    """

    def __init__(self, name, most):
        self._loader = Instrumented(name)
        self._loader.install()
        self._most = most
        self.drawn = set()
        self.all = set()  # that any circuit has
        self.found = set()

    def run(self, component, bench, beside):
        """In the place of `harness.carry_out`: the tests on every mutant that is not found yet."""
        text = self._verilog(component, bench.name)
        wanted = sorted((self.drawn - self.found) & self._loader.seen)
        if not wanted:
            return
        folder = BUILD / "mutants" / bench.name
        variables = {"MUTANTS_OF": bench.module, "MUTANTS_ONLY": bench.only or ""}
        bench = dataclasses.replace(
            bench, module="sim.evidence.shell", only=None, variables=bench.variables | variables
        )
        bench.build(folder, text + beside)
        times = {}
        ended, _ = _simulate(bench, folder, [0], times)
        if not ended:
            raise RuntimeError(f"{bench.name}: the block itself fails: {folder}")
        left = wanted
        while left:
            ended, failed = _simulate(bench, folder, _sequence(left), times)
            # What a mutant left in memories that no reset clears can fail who comes next.
            if 0 in failed:
                break
            self.found |= failed
            left = [number for number in left if number not in failed | ended]
        # The others alone, where the memories are empty.
        for number in sorted(set(wanted) - self.found):
            _, failed = _simulate(bench, folder, [number], times)
            self.found |= failed

    def _verilog(self, component, name):
        """With the input `mutant`; draws from its mutants."""
        self._loader.seen.clear()
        text = verilog(WithMutant(component), name)
        self.all |= self._loader.seen
        new = sorted(self._loader.seen - self.drawn)
        random.Random(0).shuffle(new)
        self.drawn |= set(new[: max(self._most - len(self.drawn), 0)])
        return text


def _sequence(mutants):
    """Mutants in the order of their tests: 0 is the block itself."""
    parts = [mutants[first : first + OFTEN] for first in range(0, len(mutants), OFTEN)]
    return [0, *(mutant for part in parts for mutant in [*part, 0])]


def _simulate(bench, folder, sequence, times):
    """`_outcome` of a simulation; adds what the block's own tests take to `times`."""
    log = folder / "mutants.log"
    log.write_text("")
    bench.variables.update(
        {
            "MUTANTS": json.dumps(sequence),
            "MUTANTS_LOG": str(log),
            "MUTANTS_TIMES": json.dumps(times),
        }
    )
    bench.run(folder)
    lines = [line.split() for line in log.read_text().splitlines()]
    for what, place, *took in lines:
        if what == "end" and sequence[int(place)] == 0:
            number, nanoseconds, seconds = took
            times.setdefault(number, (float(nanoseconds), float(seconds)))
    return _outcome(sequence, lines)


def _outcome(sequence, lines):
    """(mutants whose every test ended, mutants with one that did not) of a simulation."""
    begun, ended = (
        Counter(int(place) for what, place, *_ in lines if what == kind)
        for kind in ("begin", "end")
    )
    failed = {sequence[place] for place in begun if begun[place] > ended[place]}
    good = {sequence[place] for place in ended if ended[place] == ended[0]}
    return good - failed, failed


def hunt(block: str, most: int) -> dict:
    """One block, in a process of its own -> what is kept of it."""
    path, _ = sources()[block]
    changes = {change.number: change for change in changes_of(path)}
    hunt = Hunt(module_of(path), most)
    harness.carry_out = hunt.run
    begin = time.perf_counter()
    run_benches(block)
    alive = sorted(hunt.drawn - hunt.found)
    return {
        "in the circuit": len(hunt.all),
        "tried": len(hunt.drawn),
        "found": len(hunt.found),
        "alive": [changes[number].text for number in alive],
        "seconds": round(time.perf_counter() - begin),
    }


def _enough(old, most):
    return old["tried"] >= min(most, old["in the circuit"])


MUTATION = BlockRuns(
    "mutation",
    "sim.evidence.mutation",
    hunt,
    lambda outcome: f"{outcome['found']:4} of {outcome['tried']}",
    MOST,
    _enough,
)

if __name__ == "__main__":
    MUTATION.main(__doc__)
