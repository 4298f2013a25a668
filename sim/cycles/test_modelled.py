# SPDX-License-Identifier: Apache-2.0
"""Measurements by the cycle model: of equal sentences a few are predicted, and nothing is lost."""

import dataclasses

import pytest

from firmware.compiler import compile_network
from golden_model.config import MODELS
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.cycles.measure import measure_cycles
from sim.cycles.model import of_golden, predict, schedule
from sim.cycles.modelled import Modelled, _key, _passes, _repeated, _runs
from sim.cycles.work import SentenceWork

CONFIG = dataclasses.replace(small(), slots=2, rows=32)
NANO = MODELS["nano"]
SAME = 0.005  # of a run's cycles: the embeddings of other words take a little more or less


@pytest.fixture(scope="module")
def network():
    return quantize(
        random_checkpoint(NANO, density=0.4, eta=0.9, exit_threshold=1.0), CONFIG.format
    )


@pytest.fixture(scope="module")
def queue(network):
    return [of_golden(words, run_golden(network, *words)) for words in random_sentences(NANO, 8, 3)]


def check_whole(program, queue, slots, rel):
    whole = predict(program, CONFIG, schedule(program, queue, slots), 100, 4)
    found = Modelled(program).measure(queue, slots, 100, 4)
    assert len(found.operations) == len(whole)
    assert (
        found.cycles
        == sum(one.cycles for one in found.operations)
        == pytest.approx(sum(one.cycles for one in whole), rel=rel)
    )


@pytest.mark.parametrize("slots", [1, 2])
def test_all_of_different_sentences(network, queue, slots):
    check_whole(compile_network(network, CONFIG), queue, slots, 0)


@pytest.mark.parametrize("slots", [1, 2])
def test_few_of_equal_sentences(network, slots):
    """The sum is that of the whole schedule; what is predicted is much shorter."""
    program = compile_network(network, CONFIG)
    queue = [
        SentenceWork(tuple(ids.tolist()), tuple(segments.tolist()), (12, 12), (12, 5))
        for ids, segments in random_sentences(NANO, 20, 1, 12, 12)
    ]
    check_whole(program, queue, slots, SAME)
    passes = _passes(program, _runs(program, schedule(program, queue, slots)))
    like = _repeated([tuple(_key(program, run) for run in one) for one in passes])
    assert len(set(like)) < len(passes) / 2


def test_as_simulated(network, queue):
    """The same figures as a measurement in the co-simulation, where short operations are joined."""
    sentences = random_sentences(NANO, 8, 3)
    simulated = measure_cycles(network, CONFIG, sentences, slots=2)
    found = Modelled(compile_network(network, CONFIG)).measure(queue, 2, 100, 4)
    assert (
        found.source == "model"
        and simulated.source == "simulated"
        and found.simulated == found.peak_memory_mb == 0
    )
    assert (found.tokens, found.live) == (simulated.tokens, simulated.live)
    for field, within in (
        ("macs", 0),
        ("compute", 0),
        ("weight_bytes", 0),
        ("lanes", 0),
        ("bytes", 0.01),
        ("cycles", 0.01),
    ):
        ours, theirs = (
            sum(getattr(one, field) for one in measurement.operations)
            for measurement in (found, simulated)
        )
        assert ours == pytest.approx(theirs, rel=within)
    multiplied = sum(one.counters["MACS"] for one in simulated.operations)
    assert sum(one.lanes for one in found.operations) == pytest.approx(
        multiplied, rel=0.03
    )  # padding columns are multiplied too
    assert found.ends == [pytest.approx(end, abs=0.01 * simulated.cycles) for end in simulated.ends]
    leaving = max(
        one.cycles for one in found.operations if one.opcode == "EXIT"
    )  # its own record and the program are not in it
    assert all(
        0.95 * theirs < ours < theirs + 1.5 * leaving
        for ours, theirs in zip(found.latencies, simulated.latencies, strict=True)
    )


def test_memory_that_stalls(network, queue):
    """A slower or later memory costs what is counted as stalls."""
    modelled = Modelled(compile_network(network, CONFIG))
    stalls = {}
    for latency, rate in ((1, 4), (100, 4), (100, 1)):
        found = modelled.measure(queue, 2, latency, rate, stalls=True)
        stalls[latency, rate] = sum(one.counters["STALL_MEMORY"] for one in found.operations)
    assert stalls[1, 4] == 0 < stalls[100, 4] < stalls[100, 1]


def test_profile(network):
    """Sentences of which only the live tokens of each layer are known."""
    words = random_sentences(NANO, 4, 1, 12, 12)
    queue = [
        SentenceWork(tuple(ids.tolist()), tuple(segments.tolist()), (12, 12), (12, 5))
        for ids, segments in words
    ]
    found = Modelled(compile_network(network, CONFIG)).measure(queue, 2, 100, 4)
    rows = [(one.layer, one.rows) for one in found.operations if one.name == "ffn"]
    assert rows == [(0, 24), (1, 10), (2, 24), (3, 10)] and found.exit_layers == [2] * 4
    assert len(set(found.latencies[::2])) <= 2 and max(found.latencies) < 0.6 * found.cycles
