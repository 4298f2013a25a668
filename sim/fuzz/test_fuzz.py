# SPDX-License-Identifier: Apache-2.0
"""Some mutants of each target, and what the fuzzer makes of readers that are wrong."""

import json
import random
import resource
import time

import pytest
import torch

from sim.cosim.build import ROOT
from sim.fuzz import target as target_file
from sim.fuzz.__main__ import TARGETS
from sim.fuzz.mutate import change_bytes, change_json, change_word
from sim.fuzz.target import FuzzTarget, fuzz_reader

COUNTS = {"image": 100, "embedding": 150, "checkpoint": 100, "huggingface": 100, "driver": 500}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", TARGETS)
def test_mutants(name, one_thread):
    """Another seed than the one of docs/evidence/fuzz.json."""
    *_, tally = TARGETS[name](7, range(COUNTS[name]))
    assert tally.failures == []
    assert tally.cases == COUNTS[name] and tally.accepted and tally.refused


def _high_water_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _read_wrongly(number):
    if number == 0:
        raise IndexError("of a bug")
    if number == 1:
        raise ValueError("two\nlines")
    if number == 2:
        # More than the process ever had: what it gives back meanwhile does not hide it.
        bytearray(b"x") * ((_high_water_mib() + 400) << 20)
    if number == 3:
        end = time.process_time() + 2.2
        while time.process_time() < end:
            pass
    if number == 4:
        raise ValueError("Number must not be 4")


def test_findings(monkeypatch):
    monkeypatch.setattr(target_file, "GUARD", 16384)
    numbers = iter(range(6))
    target = FuzzTarget(
        "wrong", lambda: None, lambda rng, _: next(numbers), _read_wrongly, (ValueError,)
    )
    *_, tally = fuzz_reader(target, 1, range(6))
    assert [number for number, _ in tally.failures] == [0, 1, 2, 3]
    for (_, text), part in zip(
        tally.failures,
        ("IndexError: of a bug", "no line of text", "MiB, more", "s, more"),
        strict=True,
    ):
        assert part in text
    assert (tally.accepted, tally.refused, tally.errors) == (1, 1, {"ValueError": 1})


def test_cases_follow_from_seed_and_number():
    def changes(number):
        rng = random.Random(f"1/x/{number}")
        data, values = bytearray(range(64)), {"a": [1, {"b": 2.5}], "c": "d"}
        change_bytes(rng, data)
        change_json(rng, values)
        return bytes(data), repr(values), change_word(rng, 5)

    assert [changes(i) for i in range(50)] == [changes(i) for i in range(50)]
    assert len({changes(i) for i in range(50)}) > 40


def test_evidence():
    """All targets to their end, and nothing found."""
    page = json.loads((ROOT / "docs" / "evidence" / "fuzz.json").read_text())
    assert page["targets"].keys() == TARGETS.keys() and page["failures"] == 0
    for one in page["targets"].values():
        assert one["cases"] == page["count"] == 20000
        assert one["accepted"] + one["refused"] == one["cases"] and one["failures"] == 0
