# SPDX-License-Identifier: Apache-2.0
"""Queues in processes of their own: the outcome of one queue, in its order.

What goes wrong there is said here.
"""

import multiprocessing
import os

import pytest

from golden_model.config import MODELS
from golden_model.counters import MACS
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.proof import check as checks
from sim.proof import parallel

CONFIG, COUNT = small(), 5


@pytest.fixture(scope="module")
def network():
    return quantize(random_checkpoint(MODELS["nano"], seed=5, exit_threshold=1.0), CONFIG.format)


@pytest.fixture(scope="module")
def sentences():
    return random_sentences(MODELS["nano"], COUNT, seed=3)


def test_as_one_queue(network, sentences):
    """Two processes give the outcome of one queue; cycles are those of the two queues alone."""
    seen = []
    one, two = (
        checks.check(network, CONFIG, sentences),
        parallel.check_parallel(
            network, CONFIG, sentences, 2, watch=lambda *where: seen.append(where)
        ),
    )
    assert one.failures == two.failures == []
    assert (one.tensors, one.elements, one.names) == (two.tensors, two.elements, two.names)
    for name in ("tag", "logits", "exit_layer", "entropies", "live", "dropped_at_layer"):
        assert [getattr(record, name) for record in one.records] == [
            getattr(record, name) for record in two.records
        ]
    assert [golden.logits for golden in one.goldens] == [golden.logits for golden in two.goldens]
    assert [one.counters[name] for name in MACS] == [two.counters[name] for name in MACS]
    queues = [checks.check(network, CONFIG, sentences[first::2]) for first in (0, 1)]
    assert two.cycles == sum(queue.cycles for queue in queues) != one.cycles
    assert [record.cycles for record in two.records[1::2]] == [
        record.cycles for record in queues[1].records
    ]
    layers = sum(golden.exit_layer for golden in one.goldens)
    assert (
        seen[-1][:2] == (layers, layers)
        and all(total == layers for _, total, _ in seen)
        and seen == sorted(seen)
    )


def tampering(monkeypatch, sentences, number, tamper):
    """Golden results as ever, but for sentence `number`, which `tamper` gets."""

    def other(network, *sentence):
        result = real(network, *sentence)
        if sentence[0] is sentences[number][0]:
            tamper(result)
        return result

    real = checks.run_golden
    monkeypatch.setattr(checks, "run_golden", other)


def test_difference_names_its_sentence(network, sentences, monkeypatch):
    """The queue of sentences 1 and 3 stops at 3; the others are through."""

    def tamper(result):
        result.tensors["layer0.hidden"][0, 7] += 1

    tampering(monkeypatch, sentences, 3, tamper)
    outcome = parallel.check_parallel(network, CONFIG, sentences, 2)
    assert len(outcome.failures) == 1 and outcome.failures[0].startswith(
        "layer0.hidden[0, 7] of sentence 3 must be "
    )
    assert outcome.failed == {3} and [record is None for record in outcome.records] == [
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "end, text",
    [
        (lambda result: os._exit(3), "A process of the co-simulation died with exit status 3"),
        (
            lambda result: result.tensors["absent"],
            "(?s)A process of the co-simulation failed:.*KeyError: 'absent'",
        ),
    ],
)
def test_broken_process(network, sentences, monkeypatch, end, text):
    tampering(monkeypatch, sentences, 4, end)
    with pytest.raises(parallel.JobError, match=text):
        parallel.check_parallel(network, CONFIG, sentences, 2)
    assert not multiprocessing.active_children()


def test_interrupt_ends_all(network, sentences):
    def interrupt(*where):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.check_parallel(network, CONFIG, sentences, 3, watch=interrupt)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("jobs", [0, COUNT + 1])
def test_bad_jobs(network, sentences, jobs):
    with pytest.raises(
        ValueError, match=f"Jobs must be in 1..5, the number of sentences, not {jobs}"
    ):
        parallel.check_parallel(network, CONFIG, sentences, jobs)


def test_waveform_of_one_queue(network, sentences):
    with pytest.raises(ValueError, match="A waveform must be of 1 job, not of 2"):
        parallel.check_parallel(network, CONFIG, sentences, 2, trace="x.vcd")
