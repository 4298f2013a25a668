# SPDX-License-Identifier: Apache-2.0
"""The cycle model against the co-simulation: whole runs within 1 %, and every operation printed."""

import dataclasses

import numpy as np
import pytest

from firmware.compiler import compile_network
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE
from golden_model.model import run as run_golden
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.bench.harness import small
from sim.cycles.measure import run_cycles
from sim.cycles.memory import BusTimes
from sim.cycles.model import of_golden, of_record, predict, schedule
from sim.cycles.modelled import Modelled
from sim.cycles.operations import operation_name

NANO, TINY = MODELS["nano"], MODELS["tiny"]
SMALL, CI = dataclasses.replace(small(), slots=2, rows=32), HARDWARE["ci"]
ERROR = 0.01  # of a whole run
NEVER = 0.001  # exit threshold that no sentence reaches
# model, config, density, eta, exit threshold, (sentences, shortest, longest), slots, latency, bytes
# per cycle
CASES = {
    "nano, 4 tiles": (NANO, SMALL, 0.4, 0.0, NEVER, (1, 16, 16), 1, 100, 4),
    "nano, 1 tile, near memory": (NANO, SMALL, 0.4, 0.0, NEVER, (1, 4, 4), 1, 20, 4),
    "nano, slow memory": (NANO, SMALL, 0.4, 0.0, NEVER, (1, 16, 16), 1, 20, 1),
    "nano, dense": (NANO, SMALL, 1.0, 0.0, NEVER, (1, 13, 13), 1, 100, 4),
    "nano, 2 slots, drops, exits": (NANO, SMALL, 0.4, 0.9, 1.0, (6, 3, 16), 2, 100, 4),
    "nano on 8x2, 3 slots, drops": (
        NANO,
        small(8, columns=2, slots=3, rows=32),
        0.4,
        0.7,
        NEVER,
        (6, 3, 13),
        3,
        100,
        4,
    ),
    "tiny, 12 tiles": (TINY, CI, 0.4, 0.0, NEVER, (1, 48, 48), 1, 100, 4),
    "tiny, dense, 2 tiles": (TINY, CI, 1.0, 0.0, NEVER, (1, 5, 5), 1, 100, 4),
    "tiny, 2 slots, drops, slow memory": (TINY, CI, 0.4, 0.2, NEVER, (2, 20, 30), 2, 100, 1),
}


def compare(name, program, ended, predicted):
    """Print each operation's cycles; (simulated, predicted) of the run.

    Short operations that the meter saw as one stay one.
    """
    left = list(predicted)
    lines = {}
    totals = [0, 0]
    for one in ended:
        parts, left = left[: len(one.pcs)], left[len(one.pcs) :]
        assert tuple(part.pc for part in parts) == one.pcs
        cycles = sum(part.cycles for part in parts)
        line = lines.setdefault(operation_name(program, one.pc), [0, 0, 0])
        line[:] = line[0] + one.cycles, line[1] + cycles, max(line[2], abs(cycles - one.cycles))
        totals = [totals[0] + one.cycles, totals[1] + cycles]
    assert not left or all(part.pc == 0 for part in left)  # the ADMIT that finds nothing more
    print(
        f"\n{name}\n{'operation':20}{'simulated':>11}{'model':>11}{'error':>9}{'worst':>7}"
        "  (cycles, of one)"
    )
    for operation, (simulated, model, worst) in [*lines.items(), ("whole run", (*totals, 0))]:
        print(f"{operation:20}{simulated:11}{model:11}{model / simulated - 1:9.2%}{worst:7}")
    return totals


def check_bytes(program, ended, sentences, records, slots):
    """Bytes on all ports, as the machine moved them and as they follow from the program."""
    queue = [of_record(words, record) for words, record in zip(sentences, records, strict=True)]
    operations = Modelled(program).measure(queue, slots, 100, 4).operations
    simulated, expected = sum(one.bytes for one in ended), sum(one.bytes for one in operations)
    assert abs(expected - simulated) <= ERROR * simulated


@pytest.mark.parametrize("case", CASES)
def test_within_one_percent(case):
    """Predicted cycles and bytes of a run are within ERROR of the simulated ones."""
    model, config, density, eta, threshold, lengths, slots, latency, rate = CASES[case]
    network = quantize(
        random_checkpoint(model, density=density, eta=eta, exit_threshold=threshold), config.format
    )
    sentences = random_sentences(model, lengths[0], 1, *lengths[1:])
    program, meter, session, _ = run_cycles(
        network, config, sentences, slots, True, latency=latency, bytes_per_cycle=rate
    )
    work = schedule(
        program,
        [
            of_record(words, record)
            for words, record in zip(sentences, session.results(len(sentences)), strict=True)
        ],
        slots,
    )
    simulated, predicted = compare(
        case, program, meter.ended, predict(program, config, work, latency, rate)
    )
    assert abs(predicted - simulated) <= ERROR * simulated
    check_bytes(program, meter.ended, sentences, session.results(len(sentences)), slots)


def test_no_simulation_is_needed():
    """The golden model tells who drops and leaves.

    The same work follows from it as from the machine's records.
    """
    network = quantize(
        random_checkpoint(NANO, density=0.4, eta=0.9, exit_threshold=1.0), SMALL.format
    )
    sentences = random_sentences(NANO, 6, 1, 3, 16)
    program = compile_network(network, SMALL)
    work = schedule(
        program, [of_golden(words, run_golden(network, *words)) for words in sentences], 2
    )
    assert (
        sum(len(one.admitted) for one in work)
        == sum(len(one.ended) for one in work)
        == len(sentences)
    )
    assert max(len(one.rows) for one in work) == 2
    cycles = [
        sum(one.cycles for one in predict(program, SMALL, work, latency, 4))
        for latency in (20, 100)
    ]
    assert cycles[0] < cycles[1]


def test_more_weights_take_longer():
    """Dense columns, more tiles and a slower memory each cost cycles."""
    found = []
    for density, length, rate in ((0.4, 4, 4), (1.0, 4, 4), (1.0, 16, 4), (1.0, 16, 1)):
        network = quantize(
            random_checkpoint(NANO, density=density, eta=0.0, exit_threshold=NEVER), SMALL.format
        )
        words = random_sentences(NANO, 1, 1, length, length)[0]
        program = compile_network(network, SMALL)
        work = schedule(program, [of_golden(words, run_golden(network, *words))])
        found.append(sum(one.cycles for one in predict(program, SMALL, work, 50, rate)))
    assert np.all(np.diff(found) > 0)


@pytest.mark.parametrize("rate", [0.7, 3, 4, 16, 1e9])
def test_burst_is_its_beats(rate):
    whole = BusTimes(10, rate, 16)
    single = BusTimes(10, rate, 16)
    for ready, size in ((5, 64), (5, 1), (90, 64), (100, 3), (9000, 64), (9001, 17), (0, 64)):
        assert whole.burst(ready, size) == [single.beat(ready) for _ in range(size)]
