# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""ColumnDecoder: every weight of the packed columns in order, `last` on the last, no padding."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles

from firmware.columns import BIAS_BITS
from golden_model.bitmask import encode_column
from golden_model.config import AF8
from golden_model.hardware import HardwareConfig
from hw.array.bitmask import ColumnDecoder
from sim.bench import harness


def cases(config, rows):
    """Columns of codes: empty, full, single weights at both ends, random densities."""
    generator = random.Random(rows)
    largest = (1 << config.format.bits) - 1

    def column(density):
        return [
            generator.randint(1, largest) if generator.random() < density else 0
            for _ in range(rows)
        ]

    single = [[0] * at + [1] + [0] * (rows - at - 1) for at in {0, rows - 1, min(16, rows - 1)}]
    return [
        column(0),
        column(1),
        *single,
        column(0),
        *(column(density) for density in (0.05, 0.2, 0.4, 0.4, 0.8) for _ in range(2)),
        column(0),
    ]


def entries(column):
    kept = [{"k": k, "code": code, "last": 0} for k, code in enumerate(column) if code] or [
        {"k": 0, "code": 0, "last": 0}
    ]
    return [*kept[:-1], kept[-1] | {"last": 1}]


def bus_words(config, columns, headers):
    string = (
        b"".join(
            h["bias"].to_bytes(BIAS_BITS // 8, "little", signed=True)
            + h["destination"].to_bytes(2, "little")
            + encode_column(c)
            for h, c in zip(headers, columns, strict=True)
        )
        + b"\xff" * 3
    )
    string += b"\xff" * (-len(string) % config.bus_bytes + config.bus_bytes)
    return [
        int.from_bytes(string[at : at + config.bus_bytes], "little")
        for at in range(0, len(string), config.bus_bytes)
    ]


def random_headers(config, count):
    generator = random.Random(count)
    largest = (1 << (min(config.accumulator_bits, BIAS_BITS) - 1)) - 1
    return [
        {
            "bias": generator.choice(
                [0, -1, largest, -largest - 1, generator.randint(-largest, largest)]
            ),
            "destination": generator.choice([0, 1, 0xFFFF, generator.randrange(0xFFFF)]),
        }
        for _ in range(count)
    ]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def columns(dut, pause):
    """Every header and weight of several strings, one behind the other."""
    config, rows = harness.config(), harness.parameters()["rows"]
    block = ColumnDecoder(config)
    idle, stall = harness.pauses(pause)
    _, stall_header = harness.pauses(pause, seed=7)
    source = harness.Source(dut, "i", block.i.payload.shape(), idle)
    sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
    sink_header = harness.Sink(dut, "o_header", block.o_header.payload.shape(), stall_header)
    want = cases(config, rows)
    headers = random_headers(config, len(want))
    dut.reduction.value, dut.groups.value = rows, len(want)
    await harness.start(dut)
    expected = [entry for column in want for entry in entries(column)]
    words = [
        {"data": word, "first": not index}
        for index, word in enumerate(bus_words(config, want, headers))
    ]
    for strings in (1, 3, 2):  # behind each string bytes that must not be decoded
        source.send(strings * words)
        harness.assert_same(
            "entries", await sink.receive(strings * len(expected)), strings * expected
        )
        harness.assert_same(
            "headers", await sink_header.receive(strings * len(want)), strings * headers
        )
        await source.wait()
        if pause == "none":
            cycles = (sink.cycles[-1] - sink.cycles[0]) / strings
            masks = [any(column[at : at + 16]) for column in want for at in range(0, rows, 16)]
            assert (
                cycles
                <= 3 * len(want)
                + 2 * masks.count(False)
                + sum(map(bool, (code for column in want for code in column)))
                + 12
            ), cycles
        sink.cycles.clear()
        await ClockCycles(dut.clk, 20)
    assert sink.empty() and sink_header.empty()


@pytest.mark.parametrize(
    ("rows", "bus_bits", "fmt"),
    [(16, 32, (8, 3)), (33, 64, (6, 2)), (64, 32, (8, 0)), (50, 128, (8, 4))],
)
def test_bitmask(rows, bus_bits, fmt):
    config = harness.small(format=type(AF8)(*fmt), bus_bits=bus_bits)
    harness.run_bench(
        ColumnDecoder(config),
        "sim.bench.array.test_bitmask",
        f"bitmask_{rows}_{bus_bits}_{fmt[0]}_{fmt[1]}",
        config=config,
        rows=rows,
    )


def test_longest_reduction_is_not_a_power_of_two():
    config = HardwareConfig(feed_forward=200, hidden=64, heads=2, weight_depth=512)
    harness.run_bench(
        ColumnDecoder(config),
        "sim.bench.array.test_bitmask",
        "bitmask_200",
        config=config,
        rows=200,
    )
