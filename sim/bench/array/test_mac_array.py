# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""MacArray: exact products of sparse and dense columns on several tiles, and their cycles."""

import functools

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from golden_model.config import NumberFormat
from golden_model.hardware import HardwareConfig
from hw.array.mac_array import MacArray
from sim.bench import harness
from sim.bench.array.mac_array_bench import DENSITIES, META, Array, Counters


@cocotb.test()
@cocotb.parametrize(pause=("none", "both"))
async def products(dut, pause):
    """Exact products of sparse and dense operands of every density."""
    array = Array(dut, pause)
    await harness.start(dut, cycles=30_000)
    for reduction, count, tiles, block in (
        (16, 9, 1, 2),
        (33, 9, 3, 2),
        (64, 7, 2, None),
        (5, 17, 2, 3),
        (1, 7, 4, 1),
        (64, 6, 1, 1),
    ):
        codes = np.stack(
            [
                array.codes(reduction, density)
                for _, density in zip(range(count), 4 * DENSITIES, strict=False)
            ]
        )
        array.linear(codes, array.tiles(tiles, reduction), block)
        await array.check()
        if reduction <= 33:
            array.dense(codes[:9], array.tiles(tiles, reduction), by_lane=bool(reduction % 2))
            await array.check()


@cocotb.test()
@cocotb.parametrize(pause=("none", "both"))
async def ahead(dut, pause):
    """The next operation's weights come while the one before, or attention, is worked on.

    Its reduction is another.
    """
    array = Array(dut, pause)
    await harness.start(dut, cycles=30_000)
    for reduction, dense in ((16, 0), (33, 5), (5, 9), (64, 2)):
        codes = array.codes((2 * array.config.columns + 1, reduction), 0.4)
        operands = array.codes((7, dense)), array.tiles(2, dense)
        attend = functools.partial(array.dense, *operands, by_lane=False) if dense else None
        array.linear(codes, array.tiles(2, reduction), meanwhile=attend)
        await array.inputs["i_weights"].wait()
    await array.check()


@cocotb.test()
async def full(dut):
    """More weights than the rings hold, while no tile is there: the others wait outside."""
    array = Array(dut, "none")
    await harness.start(dut, cycles=30_000)
    reduction = 64
    count = array.config.columns * (2 * array.config.weight_depth // reduction + 1)
    load, array.load, tiles = array.load, lambda tile: tiles.append(tile), []
    array.linear(array.codes((count, reduction)) | 1, array.tiles(2, reduction))
    await ClockCycles(dut.clk, 2000)
    assert array.inputs["i_weights"].level, "all weights are inside"
    for tile in tiles:
        load(tile)
    await array.check()


@cocotb.test()
async def abandoned(dut):
    """Reset while lanes wait for weights that do not come: nothing is left of the operation."""
    array = Array(dut, "none")
    await harness.start(dut, cycles=5_000)
    for part in (0.3, 0.5, 0.8):
        array.linear(
            array.codes((2 * array.config.columns, 16), 0.8), array.tiles(1, 16), part=part
        )
        for source in array.inputs.values():
            await source.wait()
        await ClockCycles(dut.clk, 40)
        assert dut.idle.value == 0 and dut.stall_weights.value == 1
        while not array.sink.empty():
            await array.sink.receive(1)
        array.want = []
        dut.rst.value = 1
        await ClockCycles(dut.clk, 1)
        dut.rst.value = 0
        array.linear(array.codes((9, 16), 0.8), array.tiles(2, 16))
        await array.check()


@cocotb.test()
async def largest(dut):
    """The largest products of the longest reduction, of either sign, fit the accumulator."""
    array = Array(dut, "none")
    await harness.start(dut, cycles=30_000)
    fmt, reduction = array.config.format, array.config.reduction
    top = (1 << (fmt.bits - 1)) - 1
    negative = top | 1 << (fmt.bits - 1) if fmt.is_adaptivfloat else 0x81
    codes = np.array([[top] * reduction, [negative] * reduction] * 2)
    array.linear(
        codes,
        [
            np.full((array.config.tokens, reduction), top),
            np.full((array.config.tokens, reduction), negative),
        ],
        1,
    )
    await array.check()


@cocotb.test()
async def cycles(dut):
    """From the second tile on, whose weights are in the rings, the array takes nnz / P cycles.

    A tenth more at most.
    """
    array = Array(dut, "none")
    await harness.start(dut, cycles=30_000)
    config = array.config
    tiles = 3
    reduction = 128
    counters = Counters(dut)
    for density in (0.4, 0.2):
        codes = array.codes((64, reduction), density)
        packed = array.linear(codes, array.tiles(tiles, reduction), block=64)
        ideal, macs = packed.nonzeros.sum() / config.columns, 0
        array.sink.cycles.clear()
        for tile in range(tiles):
            harness.assert_same(
                "columns", await array.sink.receive(64), array.want[tile * 64 : (tile + 1) * 64]
            )
            counts = counters.take()
            span = (
                array.sink.cycles[64 * tile + 63] - array.sink.cycles[64 * tile - 1 if tile else 0]
            )
            dut._log.info(
                "P %d density %.1f tile %d: ideal %.1f, columns arrive in %d, %s",
                config.columns,
                density,
                tile,
                ideal,
                span,
                counts,
            )
            assert tile == 0 or max(counts["busy"], span) <= 1.1 * ideal
            macs += counts["macs"]
        assert macs == tiles * packed.nonzeros.sum()
        array.want = []
        await array.check()
    codes = array.codes((8 * config.columns, 1))  # the drain is the limit: a column a cycle
    array.sink.cycles.clear()
    array.linear(codes, array.tiles(2, 1))
    await array.check()
    assert array.sink.cycles[-1] - array.sink.cycles[8 * config.columns] == 8 * config.columns - 1
    codes, lanes = (
        array.codes((8 * config.columns, 24)) | 1,
        config.columns,
    )  # dense columns: an entry a cycle
    array.sink.cycles.clear()
    array.linear(codes, array.tiles(2, 24), block=64)
    await array.check()
    assert array.sink.cycles[-1] - array.sink.cycles[8 * lanes + lanes - 1] == 7 * 24


@cocotb.test()
async def begins(dut):
    """Lanes multiply while the tile is loaded, but no column ends before its last row is there."""
    array = Array(dut, "none")
    reduction = 64
    part = 32
    await harness.start(dut, cycles=5_000)
    counters, tile = Counters(dut), array.codes((array.config.tokens, reduction))
    rows, codes = tile.T.tolist(), array.codes((array.config.columns, reduction)) | 1
    array.load = lambda tile: array.send(
        "i_load", [{"codes": row, "last": 0} for row in rows[:part]]
    )
    array.linear(codes, [tile])
    await array.inputs["i_weights"].wait()
    await ClockCycles(dut.clk, 600)
    counts = counters.take()
    assert (
        counts["macs"] == array.config.columns * part
        and counts["stall_load"] > 0
        and array.sink.empty()
    )
    array.send(
        "i_load",
        [{"codes": row, "last": k == reduction - 1} for k, row in enumerate(rows[part:], part)],
    )
    await array.check()


@cocotb.test()
async def counted(dut):
    """Nothing is counted of a rest; of work that lacks a tile, weights or a taker, that."""
    array = Array(dut, "none")
    await harness.start(dut, cycles=10_000)
    counters = Counters(dut)

    async def states(cycles):
        """What is counted in so many cycles, once things have settled."""
        await ClockCycles(dut.clk, 300)
        counters.take()
        await ClockCycles(dut.clk, cycles)
        return {name: count for name, count in counters.take().items() if count}

    codes = array.codes((array.config.columns, 16)) | 1
    (tile,) = array.tiles(1, 16)
    assert await states(50) == {}
    load, array.load = array.load, lambda tile: None
    array.linear(codes, [tile], part=0.5)
    assert await states(50) == {"stall_load": 50}
    load(tile)
    assert await states(50) == {"stall_weights": 50}
    dut.rst.value = 1
    await ClockCycles(dut.clk, 1)
    dut.rst.value = 0
    array.want = []
    assert await states(50) == {}
    array.load = load
    array.sink.hold = True
    array.linear(array.codes((9 * array.config.columns, 1)) | 1, array.tiles(2, 1))
    assert await states(50) == {"stall_drain": 50}
    array.sink.hold = False
    await array.check()
    assert await states(50) == {}


FORMATS = {"af8": (8, 3), "af6": (6, 2), "af84": (8, 4), "int8": (8, 0)}


@pytest.mark.parametrize(
    ("tokens", "columns", "fmt", "multiplier"),
    [
        (4, 4, "af8", "dsp"),
        (3, 5, "af6", "dsp"),
        (2, 8, "int8", "dsp"),
        (2, 3, "af84", "dsp"),
        (2, 4, "af8", "fabric"),
        (2, 4, "int8", "fabric"),
    ],
)
def test_mac_array(tokens, columns, fmt, multiplier):
    config = harness.small(
        tokens=tokens, columns=columns, format=NumberFormat(*FORMATS[fmt]), multiplier=multiplier
    )
    name = f"mac_array_{tokens}_{columns}_{fmt}_{multiplier}"
    harness.run_bench(
        MacArray(config, meta=META),
        "sim.bench.array.test_mac_array",
        name,
        config=config,
        only="(products|ahead|abandoned|largest|begins|counted|full)",
    )


@pytest.mark.parametrize("columns", [4, 8])
def test_cycles(columns):
    config = HardwareConfig(tokens=2, columns=columns, feed_forward=128, weight_depth=1024)
    harness.run_bench(
        MacArray(config, meta=META),
        "sim.bench.array.test_mac_array",
        f"mac_array_cycles_{columns}",
        config=config,
        only="cycles",
    )
