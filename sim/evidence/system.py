# SPDX-License-Identifier: Apache-2.0
"""How many mutants the whole machine finds, of those that no bench of their block does.

    python -m sim.evidence.system          # all blocks; hours
    python -m sim.evidence.system softmax  # these, some minutes each

Cases of the campaign run in co-simulation, every tensor compared, with stalls, bus errors and bad
sentences, each queue twice; then the tests of faults in images and on the buses. Of a block without
a bench that `sim.evidence.mutation` could take, mutants are drawn by chance. Run it behind that.
Outcomes are kept in docs/evidence/system.json.
"""

import importlib
import random
import time

from sim.evidence.block_runs import BlockRuns, module_of, sources
from sim.evidence.mutants import Instrumented, changes_of
from sim.evidence.mutation import MUTATION

__all__ = ["SYSTEM", "survivors"]

MOST = 40  # mutants of a block without others


def hunt_in_machine(block: str, most: int) -> dict:
    """One block, in a process of its own -> {"found": texts of changes, "alive": the others}."""
    begin = time.perf_counter()
    outcome = {"found": [], "alive": []}
    path, _ = sources()[block]
    own = MUTATION.outcomes().get(block)
    if own is None or own["alive"]:
        loader = Instrumented(module_of(path))
        loader.install()
        machine = importlib.import_module("sim.evidence.machine_runs").MutantMachine()
        texts = {change.number: change.text for change in changes_of(path)}
        wanted = sorted(loader.seen)
        if own is None:
            random.Random(0).shuffle(wanted)
            wanted = sorted(wanted[:most])
        else:
            wanted = [number for number in wanted if texts[number] in own["alive"]]
        for number in wanted:
            outcome["found" if machine.finds(number) else "alive"].append(texts[number])
    return outcome | {"seconds": round(time.perf_counter() - begin)}


SYSTEM = BlockRuns(
    "system",
    "sim.evidence.system",
    hunt_in_machine,
    lambda outcome: f"{len(outcome['found']):4} of {len(outcome['found'] + outcome['alive'])}",
    MOST,
)


def survivors() -> list[tuple[str, str]]:
    """(block, text of the change) of the mutants that neither its bench nor the machine finds."""
    scores, machine = MUTATION.outcomes(), SYSTEM.outcomes()
    nothing = {"found": [], "alive": []}
    return [
        (block, text)
        for block in sorted(scores.keys() | machine.keys())
        for text in scores.get(block, machine.get(block, nothing))["alive"]
        if text not in machine.get(block, nothing)["found"]
    ]


if __name__ == "__main__":
    SYSTEM.main(__doc__)
