# SPDX-License-Identifier: Apache-2.0
"""Cases of the campaign on a machine with mutants, each in a process of its own.

Import this behind the mutants: it imports the whole machine.
"""

import dataclasses
import functools
import multiprocessing
import random
import time

from hw.verilog import verilog
from sim.cosim.build import TOP, library
from sim.evidence.mutation import WithMutant
from sim.proof.cases import random_case
from sim.proof.check import traced
from sim.proof.examine import CaseRun, examine
from sim.proof.random_parts import random_hardware

__all__ = ["MutantMachine"]

SEED = 1  # of the campaign
# One of its configurations: small, with all units; T and P divide neither each other nor a head.
NUMBER = 19
CASES = 12
PATIENCE = 500_000  # cycles of a load or a run; none takes a tenth of them
# Seconds that a mutant may take: so many times what the machine itself does, and more.
SLOWER = 5
SPARE = 20


class _MutantRun(CaseRun):
    """A case on the library at `path`, as mutant `number`; its queue once more behind it."""

    def __init__(self, path, number, case):
        self._path = path
        self._number = number
        super().__init__(case)
        self.session.queue([one.words for one in case.queue], case.slots)
        self.session.run()
        again = self.session.results(len(case.queue))
        for before, record in zip(self.outcome.records, again, strict=True):
            if dataclasses.replace(record, cycles=before.cycles) != before:
                self.failures.append(f"once more: {record}, not {before}")

    def _library(self):
        return self._path

    def _session(self):
        session = super()._session()
        session.patience = PATIENCE
        session.sim.drive("mutant", self._number)
        session.sim.reset()
        session.configure()
        return session


def _run(path, number):
    """All cases, up to the first that differs; says so by the exit status."""
    for index in range(CASES):
        attempt = functools.partial(_MutantRun, path, number)
        record = examine(random_case(SEED, NUMBER, index), attempt)
        if record["failures"]:
            raise SystemExit("\n".join(record["failures"]) if number == 0 else 1)


class MutantMachine:
    """The whole machine with the mutants of a block that was imported as `Instrumented`."""

    def __init__(self):
        # No network here: PyTorch's threads would not live on in the processes of `finds`.
        hardware = random_hardware(random.Random(f"{SEED}/{NUMBER}"), NUMBER)
        self._path = library(verilog(WithMutant(traced(hardware)), TOP))
        self._seconds = None
        if self.finds(0):
            raise RuntimeError("The machine itself fails")

    def finds(self, number):
        """Whether a case differs, ends the simulator, or does not end."""
        begin = time.perf_counter()
        process = multiprocessing.get_context("fork").Process(
            target=_run, args=(self._path, number)
        )
        process.start()
        process.join(self._seconds and SLOWER * self._seconds + SPARE)
        if process.exitcode is None:
            process.kill()
            process.join()
        if self._seconds is None:
            self._seconds = time.perf_counter() - begin
        return process.exitcode != 0
