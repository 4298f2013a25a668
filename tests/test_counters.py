# SPDX-License-Identifier: Apache-2.0
"""The predicted counters: every multiplication is done or skipped for one cause.

Those of the dense layers are counted; what is done is what the weight streams hold.
"""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from firmware.compiler import compile_network
from firmware.constants import Memory, name_constants
from firmware.image import parse_image
from golden_model.config import AF8, INT8, MODELS
from golden_model.counters import MACS, Work, count_macs, layer_work
from golden_model.hardware import HARDWARE
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from hw.counters.tally import longest
from sim.bench.harness import small
from sim.cycles.modelled import Modelled
from sim.cycles.operations import Ledger
from sim.cycles.work import SentenceWork, executed, of_golden, schedule

NANO = MODELS["nano"]  # hidden 32, 2 heads of 16, feed forward 64
WIDE = dataclasses.replace(HARDWARE["edgebert"], slots=16, rows=512, positions=512, layers=48)
DENSE = Work(4 * 32 * 32 + 2 * 32 * 64, 2 * 32)


def network(fmt=AF8, **values):
    return quantize(
        random_checkpoint(NANO, **{"seed": 5, "density": 0.4, "exit_threshold": 1.0} | values), fmt
    )


def lengths(results):
    return [(len(result.dropped_at_layer), result.tokens_per_layer) for result in results]


@pytest.mark.parametrize("fmt", [AF8, INT8])
@pytest.mark.parametrize("dead_heads", [0, 1])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_multiplication_is_done_or_skipped(fmt, dead_heads, seed):
    net = network(fmt, seed=seed, dead_heads=dead_heads)
    results = [run(net, *words) for words in random_sentences(NANO, 6, seed)]
    counts = count_macs(layer_work(net), NANO.layers, lengths(results))
    assert sum(counts[name] for name in MACS) == sum(
        NANO.layers * DENSE.of(len(result.dropped_at_layer)) for result in results
    )
    assert all(counts[name] > 0 for name in MACS if dead_heads or name != "SKIPPED_HEADS")
    assert (counts["SKIPPED_HEADS"] == 0) == (dead_heads == 0)


def test_by_hand():
    """16 tokens, of which 10 and then 4 stay; the third layer is not run."""
    net = network(dead_heads=1)
    zeros = sum(
        int((linear.codes == 0).sum())
        for name, linear in net.linears.items()
        if name.startswith(("attention", "feed_forward"))
    )
    stored, dead = 4 * 32 * 16 + 2 * 32 * 64, 4 * 32 * 16
    assert count_macs(layer_work(net), NANO.layers, [(16, [10, 4])]) == {
        "TOKENS": 14,
        "USEFUL_MACS": 14 * (stored - zeros) + 32 * (100 + 16),
        "SKIPPED_ZEROS": 14 * zeros,
        "SKIPPED_HEADS": 14 * dead + 32 * (100 + 16),
        "SKIPPED_TOKENS": (6 + 12) * DENSE.row + 64 * (2 * 256 - 100 - 16),
        "SKIPPED_EXITS": 16 * DENSE.row + 64 * 256,
    }


def test_nothing_is_skipped_of_a_plain_model():
    net = network(density=1.0, eta=0.0, exit_threshold=0.0)
    for name in net.linears:
        net.linears[name].codes[net.linears[name].codes == 0] = 1
    result = run(net, *random_sentences(NANO, 1, 1, 16, 16)[0])
    assert count_macs(layer_work(net), NANO.layers, lengths([result])) == dict.fromkeys(MACS, 0) | {
        "TOKENS": 48,
        "USEFUL_MACS": 3 * DENSE.of(16),
    }


def test_useful_is_what_the_operations_do():
    """The network's prediction is the sum over the layers' operations, by the weight streams."""
    net = network(dead_heads=1)
    words = random_sentences(NANO, 6, 3)
    results = [run(net, *one) for one in words]
    program = compile_network(net, small(rows=32))
    ledger = Ledger(program)
    work = executed(
        program,
        schedule(program, [of_golden(*pair) for pair in zip(words, results, strict=True)], 2),
    )
    macs = [ledger.operation(one, 0, 0, {}, 0) for one in work]
    done = sum(
        one.macs
        for one in macs
        if one.name in ("q", "k", "v", "context", "attention", "hidden", "ffn")
    )
    assert count_macs(layer_work(net), NANO.layers, lengths(results))["USEFUL_MACS"] == done


@pytest.mark.parametrize(
    "config",
    [small(slots=1), small(rows=32), HARDWARE["edgebert"], WIDE],
    ids=lambda config: f"{config.slots} slots",
)
def test_shortest_pass_outlasts_the_tally(config):
    """The tally's queue cannot overflow: smallest model, a token in each slot, no memory waits."""
    model = dataclasses.replace(NANO, layers=3, hidden=16, heads=1, feed_forward=16, classes=2)
    net = quantize(random_checkpoint(model, density=0.05, eta=0.0), AF8)
    queue = [SentenceWork((1,), (0,), (1,) * 3, (1,) * 3)] * (2 * config.slots)
    passes = Counter()
    for one in (
        Modelled(compile_network(net, config))
        .measure(queue, config.slots, 1, config.bus_bytes)
        .operations
    ):
        passes[one.layer] += one.cycles
    assert longest(config) < min(passes[number] for number in range(5))


def test_constants_of_the_image():
    net = network(dead_heads=1)
    for units in (small().units, small().units - {"counters"}):
        hardware = small(units=units)
        image = parse_image(compile_network(net, hardware).image)
        words = name_constants(hardware, image.constant_words).get(Memory.WORK, [])
        assert words == (
            np.ravel(list(layer_work(net).values())).tolist() if "counters" in units else []
        )
