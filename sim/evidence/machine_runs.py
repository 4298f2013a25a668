# SPDX-License-Identifier: Apache-2.0
"""What takes a block through its work in the whole machine: cases of the campaign, then tests.

Import this behind mutants of a block: it imports the whole machine.
"""

import dataclasses
import multiprocessing
import random
import time

import pytest

from hw.verilog import verilog
from sim.cosim import session as host
from sim.cosim.build import ROOT, TOP, library
from sim.cosim.cosim import Cosim
from sim.evidence.mutation import WithMutant
from sim.proof import conftest
from sim.proof.campaign import examine
from sim.proof.campaign.cases import random_case
from sim.proof.campaign.random_parts import random_hardware
from sim.proof.check import traced
from sim.proof.system import CONFIG

__all__ = ["MutantMachine", "failure", "machines"]

SEED = 1  # of the campaign
# One of its configurations: small, with all units; T and P divide neither each other nor a head.
NUMBER = 19
CASES = 16
TESTS = [
    ROOT / "sim" / "proof" / f"{name}.py"
    for name in ("test_faults", "test_faults_registers", "test_faults_bus")
]
PATIENCE = 500_000  # cycles of a load or a run; none takes a tenth of them
# Seconds that a mutant may take: so many times what the machine itself does, and more.
SLOWER = 3
SPARE = 20


class _TwiceRun(examine.CaseRun):
    """A case, and its queue once more behind it; then a reset."""

    def __init__(self, case):
        super().__init__(case)
        session = self.session
        session.queue([one.words for one in case.queue], case.slots)
        session.run()
        again = session.results(len(case.queue))
        for before, record in zip(self.outcome.records, again, strict=True):
            if dataclasses.replace(record, cycles=before.cycles) != before:
                self.failures.append(f"once more: {record}, not {before}")
        session.reset()
        state = [session.read(name) for name in ("STATUS", "ERROR", "ERROR_PC")]
        if any(state):
            self.failures.append(f"STATUS, ERROR, ERROR_PC after a reset: {state}")


def machines():
    """The configurations of cases and tests."""
    return random_hardware(random.Random(f"{SEED}/{NUMBER}"), NUMBER), CONFIG


def failure(paths, cosim):
    """All cases and tests up to the first that fails: what does, or "".

    paths : {configuration: library}
    cosim : in place of `Cosim`; it stays for this process
    """
    host.Cosim = cosim
    host.PATIENCE = PATIENCE
    examine.PATIENCE_OF_A_CASE = PATIENCE
    examine.build = conftest.build = lambda hardware, make: paths[hardware]
    for index in range(CASES):
        record = examine.examine(random_case(SEED, NUMBER, index), _TwiceRun)
        if record["failures"]:
            return "\n".join(record["failures"])
    failed = pytest.main(["-qx", "-p", "no:cacheprovider", *map(str, TESTS)])
    return "A test fails" if failed else ""


def _run(paths, number):
    """A mutant; the exit status tells whether it fails."""

    class MutantCosim(Cosim):
        """Is the mutant `number` from its first reset on."""

        def reset(self):
            self.drive("mutant", number)
            super().reset()

    failed = failure(paths, MutantCosim)
    raise SystemExit(failed or 0)


class MutantMachine:
    """The whole machine with the mutants of a block that was imported as `Instrumented`."""

    def __init__(self):
        # No network here: PyTorch's threads would not live on in the processes of `finds`.
        self._paths = {
            hardware: library(verilog(WithMutant(traced(hardware)), TOP)) for hardware in machines()
        }
        self._seconds = None
        if self.finds(0):
            raise RuntimeError("The machine itself fails")

    def finds(self, number):
        """Whether a case or a test fails, ends the simulator, or does not end."""
        begin = time.perf_counter()
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=_run, args=(self._paths, number))
        process.start()
        process.join(self._seconds and SLOWER * self._seconds + SPARE)
        if process.exitcode is None:
            process.kill()
            process.join()
        if self._seconds is None:
            self._seconds = time.perf_counter() - begin
        return process.exitcode != 0
