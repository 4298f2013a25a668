# SPDX-License-Identifier: Apache-2.0
"""Measurements of nano on 4 x 4 lanes: every cycle is accounted for, limits hold.

Multiplications are what the counters counted.
"""

import dataclasses

import pytest

from golden_model.config import MODELS
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.cycles import measure as measuring
from sim.cycles.measure import MeasureError, measure_cycles, run_cycles
from sim.cycles.operations import Measurement

CONFIG = dataclasses.replace(small(), slots=2, rows=32)
NANO = MODELS["nano"]


def network(eta, exit_threshold=0.001):
    return quantize(
        random_checkpoint(NANO, density=0.4, eta=eta, exit_threshold=exit_threshold), CONFIG.format
    )


def multiplied(operations):
    return sum(operation.counters["MACS"] for operation in operations)


@pytest.mark.parametrize("bytes_per_cycle", [1, 4])
def test_sentence(bytes_per_cycle):
    """One sentence: cycles, rows, MACs and bytes of its operations add up; JSON gives them back."""
    seen = []
    measurement = measure_cycles(
        network(eta=0.0),
        CONFIG,
        random_sentences(NANO, 1, 1, 16, 16),
        bytes_per_cycle=bytes_per_cycle,
        watch=seen.append,
    )
    operations = measurement.operations
    assert (
        measurement.cycles
        == sum(operation.cycles for operation in operations)
        == seen[-1] - seen[0] + operations[0].cycles
    )
    assert measurement.exit_layers == [NANO.layers] and measurement.tokens == [16]
    assert 0 < measurement.latencies[0] <= measurement.ends[0] <= measurement.cycles
    weights = [operation for operation in operations if operation.weight_bytes]
    assert len(weights) == 1 + 8 * NANO.layers
    for operation in weights:
        assert operation.rows == (1 if operation.name in ("pooled", "logits") else 16)
        assert operation.cycles >= operation.compute
    assert (
        measurement.cycles
        >= sum(operation.weight_bytes for operation in operations) / bytes_per_cycle
    )  # they may come in operations before
    assert sum(operation.bytes for operation in operations) >= sum(
        operation.weight_bytes for operation in operations
    )
    attention = [operation for operation in operations if operation.opcode == "ATTEND"]
    assert all(
        operation.macs == 2 * 16 * 16 * NANO.hidden == operation.counters["MACS"]
        for operation in attention
    )
    assert [operation.name for operation in operations if operation.embeds][:4] == [
        "embed_sum",
        "embed",
        "x",
        "x move",
    ]
    assert Measurement.from_json(measurement.to_json()) == measurement


def test_queue():
    """Rows follow drops and exits: full tiles of the weight operations are what was multiplied.

    K and V begin in the time of Q.
    """
    measurement = measure_cycles(
        network(eta=0.9, exit_threshold=1.0), CONFIG, random_sentences(NANO, 6, 3), slots=2
    )
    assert len(set(measurement.exit_layers)) > 1
    assert all(
        operation.rows == operation.tokens
        for operation in measurement.operations
        if operation.name in ("q", "ffn", "hidden")
    )
    chosen = [
        operation for operation in measurement.operations if operation.name in ("q", "k", "v")
    ]
    for first in range(0, len(chosen), 3):
        together = chosen[first : first + 3]
        padding = (
            multiplied(together)
            - sum(operation.compute for operation in together) * CONFIG.columns * CONFIG.tokens
        )
        assert 0 <= padding <= 0.1 * multiplied(together)
    passes = [operation for operation in measurement.operations if operation.name == "q"]
    assert sum(operation.rows for operation in passes) < NANO.layers * sum(measurement.tokens)


def test_latency_costs_cycles():
    cycles = [
        measure_cycles(
            network(eta=0.0), CONFIG, random_sentences(NANO, 1, 1, 4, 4), latency=latency
        ).cycles
        for latency in (20, 400)
    ]
    assert (
        cycles[0] + 380 * 4 < cycles[1]
    )  # the program, the first weights, a descriptor, tokens; later ones come ahead


def test_wrong_result_is_no_measurement(monkeypatch):
    """Each is what the golden model gives for the sentence alone."""
    golden, sentences = measuring.run_golden, random_sentences(NANO, 2, 1)
    monkeypatch.setattr(
        measuring, "run_golden", lambda network, *words: golden(network, *sentences[0])
    )
    with pytest.raises(MeasureError, match="in the result of sentence 1 must be"):
        measure_cycles(network(eta=0.0), CONFIG, sentences)


def test_failed_sentence_is_no_measurement():
    with pytest.raises(MeasureError, match="SENTENCE_LENGTH"):
        run_cycles(network(eta=0.0), CONFIG, [([1] * 17, [0] * 17)])
