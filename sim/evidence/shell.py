# SPDX-License-Identifier: Apache-2.0
"""cocotb tests, in a simulation: every test of a bench, for each mutant that is asked for.

A mutant's tests end with the first that fails. Lines of the file MUTANTS_LOG tell what went on:
"begin P" and "end P N NANOSECONDS SECONDS", for test N of the mutant at place P; where an end is
missing, it failed. MUTANTS_TIMES are those of the block itself, if they are known.
"""

import importlib
import json
import math
import os
import re
import signal
import time

from cocotb._decorators import Test, TestGenerator
from cocotb.simtime import get_sim_time
from cocotb.triggers import Timer, with_timeout

# Simulated time that a mutant's test may take: so many times what the block's own takes, and more.
LONGER = 3
SPARE_NS = 20_000
# The same of real time, in seconds, for a circuit in which time stands still.
SLOWER = 10
SPARE = 30


def _tests(module):
    """The tests that cocotb would find, in its order."""
    for one in vars(importlib.import_module(module)).values():
        if isinstance(one, Test):
            yield one
        elif isinstance(one, TestGenerator):
            yield from one.generate_tests()


class _Shell:
    """The order is: the block itself, the mutants, and between them the block itself again."""

    def __init__(self):
        self._log = open(os.environ["MUTANTS_LOG"], "a", buffering=1)  # noqa: SIM115
        # Of the block's own tests.
        self._times = {int(n): time for n, time in json.loads(os.environ["MUTANTS_TIMES"]).items()}
        self._running = None
        self._failed = set()

    def test(self, place, mutant, number, test):
        """Test `number` for a mutant; `place` of the sequence."""

        async def run(dut):
            """Nothing, where an earlier test of the mutant failed."""
            if self._running is not None:
                self._failed.add(self._running)
            self._running = None
            if place in self._failed:
                return
            self._running = place
            print("begin", place, file=self._log)
            nanoseconds, seconds = self._times.get(number, (1e9, 60))
            signal.alarm(SPARE + math.ceil(SLOWER * seconds))  # ends the simulation
            dut.mutant.value = mutant
            await Timer(1, "ns")  # before the first edge of the clock
            begin, began = get_sim_time("ns"), time.perf_counter()
            limit = int(LONGER * nanoseconds + SPARE_NS)
            await with_timeout(test.func(dut, *test.args, **test.kwargs), limit, "ns")
            took = get_sim_time("ns") - begin, time.perf_counter() - began
            self._times.setdefault(number, took)
            print("end", place, number, *took, file=self._log)
            self._running = None

        return Test(
            func=run,
            args=[],
            kwargs={},
            name=f"place{place}_{test.name}",
            module=__name__,
            doc=None,
            timeout=None,
            expect_fail=False,
            expect_error=(),
            skip=False,
            stage=0,
        )


def _register():
    shell = _Shell()
    only = os.environ["MUTANTS_ONLY"]
    tests = [
        one
        for one in _tests(os.environ["MUTANTS_OF"])
        if not one.skip and (not only or re.fullmatch(only, one.name.partition("/")[0]))
    ]
    for place, mutant in enumerate(json.loads(os.environ["MUTANTS"])):
        for number, test in enumerate(tests):
            globals()[f"place{place}_{number}"] = shell.test(place, mutant, number, test)


_register()
