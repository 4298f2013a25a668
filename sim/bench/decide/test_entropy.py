# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/decide/entropy.py against golden_model/entropy.py and golden_model/exit.py."""

import random

import cocotb
import pytest
import torch
from cocotb.utils import get_sim_time

from golden_model.entropy import entropy_sums, is_sure, reported_entropy
from golden_model.exit import argmax
from golden_model.formats import EXP_IN_FRAC
from hw.decide.entropy import Entropy, cycles
from hw.shapes import ALIGN, THRESHOLD
from sim.bench import harness

LOW, HIGH = -32768, 32767


def cases(config, seed=1):
    """(logits, fraction bits, threshold).

    The threshold is at, just above and just below the entropy, and anywhere.
    """
    generator = random.Random(seed)
    c = config.classes
    yield [3], 10, 0
    yield [3], 10, 1
    yield [0] * c, 10, 2**18 - 1
    yield [LOW, HIGH] + [LOW] * (c - 2), 5, 0
    yield [LOW, HIGH] + [LOW] * (c - 2), 5, 1
    yield [-2000, 100] * (c // 2), 11, 2**15
    for _ in range(15):
        spread = generator.choice([2, 300, 3000, HIGH])
        logits = [
            generator.randint(-spread, spread)
            for _ in range(generator.choice([2, max(2, c - 1), c]))
        ]
        frac = generator.randint(4, 14)
        z, s = entropy_sums(torch.tensor(logits), frac)
        exact = edge(int(z), int(s))
        for threshold in (exact, exact + 1, generator.getrandbits(18)):
            yield logits, frac, min(threshold, 2**18 - 1)


def edge(z, s):
    """The largest threshold that does not exit, by bisection."""
    low, high = 0, 2**18
    while high - low > 1:
        middle = (low + high) // 2
        sure = bool(is_sure(torch.tensor(z), torch.tensor(s), middle))
        low, high = (low, middle) if sure else (middle, high)
    return low


def golden(logits, frac, threshold):
    logits = torch.tensor(logits)
    z, s = entropy_sums(logits, frac)
    return {
        "exits": int(is_sure(z, s, threshold)),
        "entropy": int(reported_entropy(z, s)),
        "class": argmax(logits),
    }


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def entropy(dut, pause):
    """Entropy and verdict are the golden model's, after the cycles that `cycles` gives."""
    config = harness.config()
    block = Entropy(config)
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    await harness.start(dut)
    for number, (logits, frac, threshold) in enumerate(cases(config)):
        harness.drive(dut, "align", ALIGN, frac - EXP_IN_FRAC)
        harness.drive(dut, "threshold", THRESHOLD, threshold)
        source.send([{"value": x, "last": int(i == len(logits) - 1)} for i, x in enumerate(logits)])
        await source.wait()
        begun = get_sim_time("ns")
        harness.assert_same(
            f"entropy {number} {logits}",
            (await sink.receive(1))[0],
            golden(logits, frac, threshold),
        )
        if pause == "none":
            assert get_sim_time("ns") - begun == cycles(len(logits)) * harness.CLOCK_NS
    assert sink.empty()


@pytest.mark.parametrize("classes", [2, 3, 16])
def test_entropy(classes):
    config = harness.small(classes=classes)
    harness.run_bench(
        Entropy(config), "sim.bench.decide.test_entropy", f"entropy_{classes}", config=config
    )
