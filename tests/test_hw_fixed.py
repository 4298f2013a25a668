# SPDX-License-Identifier: Apache-2.0
"""hw/arith/fixed.py equals golden_model/fixed.py, in Amaranth's own simulator.

The logic is combinational, so nothing powers up undefined and a four-state simulator shows no more.
"""

import random

import pytest
from amaranth import Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from golden_model import fixed as golden
from hw.arith import fixed


def evaluate(build, shapes, cases, clocked=False):
    """Outputs of the logic that `build(m, *inputs)` returns, for each case of input values.

    clocked : a cycle after the values came, for what a register takes of them
    """
    m = Module()
    inputs = [Signal(shape) for shape in shapes]
    values = build(m, *inputs)
    outputs = []
    for value in values if isinstance(values, tuple) else (values,):
        outputs.append(Signal(value.shape()))
        m.d.comb += outputs[-1].eq(value)
    results = []

    async def bench(ctx):
        for case in cases:
            for signal, value in zip(inputs, case, strict=True):
                ctx.set(signal, value)
            await (ctx.tick() if clocked else ctx.delay(1e-9))
            results.append(tuple(ctx.get(output) for output in outputs))

    simulator = Simulator(m)
    if clocked:
        simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def values(shape, count=150, seed=1):
    """Corners of a shape, and seeded random values of every magnitude."""
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    high = low + (1 << shape.width) - 1
    generator = random.Random(seed)
    some = [
        int(generator.uniform(-1, 1) * 2 ** generator.uniform(0, shape.width)) for _ in range(count)
    ]
    return [low, low + 1, high, high - 1, 0, 1, 2, 3, 4, 5, 6, 7] + [
        x for x in some if low <= x <= high
    ]


@pytest.mark.parametrize("shape", [signed(8), unsigned(8), signed(33)])
@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 7, 8, 9, 12])
def test_round_shift_by_constant(shape, shift):
    cases = [
        (x,)
        for x in (
            range(256)
            if shape == unsigned(8)
            else range(-128, 128)
            if shape == signed(8)
            else values(shape)
        )
    ]
    got = evaluate(lambda m, x: fixed.round_shift(m, x, shift), [shape], cases)
    assert got == [(golden.round_shift(x, shift),) for (x,) in cases]


@pytest.mark.parametrize(
    ("shape", "amount", "low", "high"),
    [
        (signed(8), unsigned(4), 0, None),
        (unsigned(8), unsigned(4), 0, None),
        (signed(8), signed(5), -5, 9),
        (signed(33), unsigned(6), 0, 47),
        (unsigned(17), signed(6), -16, 16),
        (signed(33), signed(7), -15, 31),
    ],
)
def test_round_shift_by_signal(shape, amount, low, high):
    shifts = range(low, 16 if high is None else high + 1)
    numbers = (
        values(shape) if shape.width > 8 else range(*((-128, 128) if shape.signed else (0, 256)))
    )
    cases = [(x, s) for x in numbers for s in shifts][::3]
    got = evaluate(
        lambda m, x, s: fixed.round_shift(m, x, (s - low).as_unsigned(), low, high),
        [shape, amount],
        cases,
    )
    assert got == [(golden.round_shift(x, s),) for x, s in cases]


@pytest.mark.parametrize(
    ("shape", "bits"),
    [(signed(12), 8), (unsigned(9), 8), (signed(8), 8), (signed(5), 8), (unsigned(8), 8)],
)
def test_saturate(shape, bits):
    cases = [(x,) for x in values(shape)]
    got = evaluate(lambda m, x: fixed.saturate(m, x, bits), [shape], cases)
    assert got == [(golden.saturate(x, bits), int(golden.saturate(x, bits) != x)) for (x,) in cases]


def test_align():
    cases = [(x, s) for x in values(signed(16), 40) for s in range(-32, 32)]
    got = evaluate(
        lambda m, x, s: fixed.saturate(m, fixed.align(m, x, s), 16),
        [signed(16), signed(6)],
        cases,
        clocked=True,
    )
    assert [y for y, _ in got] == [golden.align(x, s, 0) for x, s in cases]
    assert [bool(flag) for _, flag in got] == [
        not -(2**15) <= golden.round_shift(x, s) < 2**15 for x, s in cases
    ]


@pytest.mark.parametrize("width", [16, 17, 28, 33])
def test_normalize(width):
    cases = [(x,) for x in values(unsigned(width))] + [(1 << i,) for i in range(width)]
    got = evaluate(fixed.normalize, [unsigned(width)], cases)
    assert got == [(x << (width - x.bit_length()), max(golden.leading_one(x), 0)) for (x,) in cases]


@pytest.mark.parametrize("width", [1, 3, 4])
def test_count(width):
    cases = [(x,) for x in range(1 << width)]
    assert evaluate(lambda m, x: fixed.count(x), [unsigned(width)], cases) == [
        (x.bit_count(),) for (x,) in cases
    ]
