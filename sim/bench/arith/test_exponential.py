# SPDX-License-Identifier: Apache-2.0
"""hw/arith/exponential.py against golden_model/softmax.py and functions.py."""

import random

import cocotb
import torch

from golden_model.formats import EXP_IN_FRAC
from golden_model.functions import exp
from golden_model.softmax import distance
from hw.arith.exponential import ALIGN, Exponential
from sim.bench import harness

LOW, HIGH = -32768, 32767


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def exponential(dut, pause):
    """Every table entry, the clamp, ties of the rounding, shifts both ways and beyond the ends."""
    block = Exponential()
    idle, stall = harness.pauses(pause)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    await harness.start(dut)
    generator = random.Random(2)
    for align in (0, 1, 3, 6, 16, 17, 18, 31, -1, -5, -16, -17, -32):
        harness.drive(dut, "align", ALIGN, align)
        count = 512 if align == 0 else 64
        pairs = [
            (HIGH, HIGH - 257 * i // 2)
            if align == 0
            else sorted(generator.choices(range(LOW, HIGH + 1), k=2), reverse=True)
            for i in range(count - 2)
        ] + [(HIGH, LOW), (9, 9)]
        source.send([{"value": value, "maximum": maximum} for maximum, value in pairs])
        top, x = torch.tensor(pairs).T
        d = distance(x, top, EXP_IN_FRAC + align)
        want = [
            {"distance": int(a), "exponential": int(b), "meta": 0}
            for a, b in zip(d, exp(d), strict=True)
        ]
        harness.assert_same("exponential", await sink.receive(count), want)
    assert sink.empty()


def test_exponential():
    harness.run_bench(Exponential(), "sim.bench.arith.test_exponential", "exponential")
