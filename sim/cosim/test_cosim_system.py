# SPDX-License-Identifier: Apache-2.0
"""Whole sentences through the accelerator in the compiled co-simulation.

Every tensor, alone and together, on any bus; faults are in test_faults*.py.
"""

from types import SimpleNamespace

import pytest

from firmware.compiler import compile_network
from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from golden_model.config import MODELS
from golden_model.dvfs import FREQUENCIES
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from hw.trace import taps
from sim.bench.harness import small
from sim.cosim.build import build
from sim.cosim.session import Session
from sim.proof import check as checks
from sim.proof.check import check, traced

CONFIG = small()
HIGHEST = len(FREQUENCIES) - 1  # operating point


@pytest.fixture(scope="module")
def nano():
    network = quantize(
        random_checkpoint(MODELS["nano"], seed=5, exit_threshold=1.0, dead_heads=1), CONFIG.format
    )
    return SimpleNamespace(
        network=network,
        program=compile_network(network, CONFIG),
        sentences=random_sentences(MODELS["nano"], 6, seed=3),
    )


@pytest.mark.parametrize(
    "behave",
    [{}, {"latency": 0}, {"latency": 40, "stall": 0.3, "seed": 2}, {"bytes_per_cycle": 0.7}],
)
def test_nano_is_bit_exact(nano, behave):
    seen = []
    outcome = check(
        nano.network, CONFIG, nano.sentences, behave=behave, watch=lambda *where: seen.append(where)
    )
    assert outcome.failures == []
    layers = sum(golden.exit_layer for golden in outcome.goldens)
    assert seen[-1][:2] == (layers, layers) and seen == sorted(seen)
    assert outcome.mixed_tiles > 0


def test_memory_that_takes_a_burst_at_a_time(nano):
    """Bursts wait for each other: it takes longer, and the bits are the same."""
    one, eight = (
        check(nano.network, CONFIG, nano.sentences, behave={"latency": 60, "bursts": bursts})
        for bursts in (1, 8)
    )
    assert one.failures == eight.failures == []
    assert one.cycles > 1.2 * eight.cycles


def test_bits_do_not_depend_on_neighbours(nano):
    together, alone = (check(nano.network, CONFIG, nano.sentences, slots=slots) for slots in (2, 1))
    assert together.failures == alone.failures == []
    assert [record.logits for record in together.records] == [
        record.logits for record in alone.records
    ]
    assert alone.mixed_tiles == 0 and together.cycles < alone.cycles
    assert all(
        record.passes == record.exit_layer
        for outcome in (together, alone)
        for record in outcome.records
    ), "a resident sentence waits"


@pytest.mark.parametrize(
    ("deadline", "lowest"), [(0, HIGHEST), (1, HIGHEST), (1 << 30, 0)], ids=["none", "now", "late"]
)
def test_operating_point(nano, deadline, lowest):
    """Passes are told to the governor: it asks for less where deadlines are far."""
    images = nano.program.image, nano.program.embedding
    session = Session(build(CONFIG, traced), CONFIG, taps(CONFIG), *images, 6)
    session.load()
    session.queue(nano.sentences, deadlines=[deadline] * 6)
    points = set()
    session.run(lambda records: points.add(session.sim.port("dvfs_code")))
    assert (min(points), max(points)) == (lowest, HIGHEST)


def test_deadline_first(nano):
    """The most urgent sentences begin first; each has the same bits and its own result."""
    session = Session(
        build(CONFIG, traced), CONFIG, {}, nano.program.image, nano.program.embedding, 6
    )
    deadlines, begun = [9000, 0, 100, 5000, 100, 7], {}
    session.load()
    for first in (False, True):
        session.queue(nano.sentences, 1, deadlines, deadline_first=first)
        session.run()
        begun[first] = session.results(6)
    assert [record.tag for record in begun[True]] == [*range(6)]
    assert [record.logits for record in begun[True]] == [record.logits for record in begun[False]]
    assert [session.record(place).tag for place in range(6)] == [5, 2, 4, 3, 0, 1]


def test_difference_stops_at_once(nano, monkeypatch):
    """One golden value is changed: the run stops at the end of that operation and names it."""

    def tampered(network, *sentence):
        result = real(network, *sentence)
        result.tensors["layer1.hidden"][0, 7] += 1
        return result

    real = checks.run_golden
    monkeypatch.setattr(checks, "run_golden", tampered)
    outcome = check(nano.network, CONFIG, nano.sentences[:1])
    up = [
        pc
        for pc, symbol in enumerate(nano.program.symbols)
        if symbol and symbol.tensor.endswith(".hidden")
    ]
    assert len(outcome.failures) == 1 and not outcome.records
    assert outcome.failures[0].startswith("layer1.hidden[0, 7] of sentence 0 must be ")
    assert outcome.failures[0].endswith(f"instruction {up[0]})")


def test_missing_tensor_is_a_failure(nano, monkeypatch):
    def richer(network, *sentence):
        result = real(network, *sentence)
        result.tensors["layer0.gist"] = result.tensors["layer0.x"]
        return result

    real = checks.run_golden
    monkeypatch.setattr(checks, "run_golden", richer)
    outcome = check(nano.network, CONFIG, nano.sentences[:1])
    assert (
        "layer0.gist of sentence 0: " in outcome.failures[0]
        and "never produced" in outcome.failures[0]
    )


def test_wrong_counter_is_a_failure(nano, monkeypatch):
    real = checks.count_macs
    monkeypatch.setattr(checks, "count_macs", lambda *given: real(*given) | {"TOKENS": 1})
    outcome = check(nano.network, CONFIG, nano.sentences[:1])
    assert outcome.failures == [
        f"counter TOKENS must be 1, not {sum(outcome.goldens[0].tokens_per_layer)}"
    ]


def test_damaged_embedding_row_fails_its_sentences_alone(nano):
    word = int(nano.sentences[2][0][-1])
    image = parse_embedding(nano.program.embedding)
    damaged = bytearray(nano.program.embedding)
    damaged[image.offsets[word]] ^= 0x10
    expect = {
        i: Error.SENTENCE_CHECK
        for i, (tokens, _) in enumerate(nano.sentences)
        if word in tokens.tolist()
    }
    assert 0 < len(expect) < 6
    outcome = check(nano.network, CONFIG, nano.sentences, expect=expect, embedding=bytes(damaged))
    assert outcome.failures == []


def test_reset_that_does_not_end_says_so(monkeypatch):
    monkeypatch.setattr("sim.cosim.session.DRAINING", 3)
    busy = SimpleNamespace(write=lambda *_: None, read=lambda _: 1)
    with pytest.raises(RuntimeError, match="Reset must end in 3 reads of STATUS"):
        Session.reset(busy)
