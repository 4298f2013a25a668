# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/queue/record.py against the result record as firmware/record.py lays it out."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles

from firmware.record import RECORD
from hw.queue.record import Field, RecordMemory, field_layout
from hw.shapes import index
from sim.bench import harness
from sim.bench.players import SlotRecord


def random_field(config, generator):
    field = generator.choice([Field.WORD, Field.LOGIT, Field.ENTROPY, Field.TOKENS, Field.DROPPED])
    number = {
        Field.WORD: RECORD.word(
            generator.choice(["STATUS", "VERDICT", "DETAIL", "PREDICTED_EXIT"])
        ),
        Field.LOGIT: generator.randrange(config.classes),
        Field.DROPPED: generator.randrange(config.positions),
    }.get(field, generator.randrange(config.layers))
    return field, number, generator.getrandbits(32)


class Driver:
    """The block's three streams."""

    def __init__(self, dut, config, pause):
        idle, stall = harness.pauses(pause)
        block = RecordMemory(config)
        self.source = harness.Source(dut, "i", field_layout(config), idle)
        self.reads = harness.Source(dut, "i_read", index(config.slots), idle)
        self.sink = harness.Sink(dut, "o", block.o.payload.shape(), stall)
        self.config = config

    async def write(self, slot, field, number=0, data=0):
        self.source.send([{"slot": slot, "field": field.value, "index": number, "data": data}])
        await self.source.wait()

    async def read(self, slot):
        """The words of a slot's record."""
        self.reads.send([slot])
        return await self.receive()

    async def receive(self):
        """The words of a record that was asked for."""
        words = await self.sink.receive(RECORD.words(self.config))
        harness.assert_same("last", [word["last"] for word in words], [0] * (len(words) - 1) + [1])
        return [word["data"] for word in words]


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def records(dut, pause):
    """Every slot is begun, written at random, read back; others stay as they are."""
    config = harness.config()
    driver, generator = Driver(dut, config, pause), random.Random(config.slots)
    dut.passes.value = 0
    await harness.start(dut)
    model = {}
    for _ in range(2):
        for slot in range(config.slots):
            tag = generator.getrandbits(32)
            await driver.write(slot, Field.BEGIN, data=tag)
            model[slot] = SlotRecord(config, tag)
        for _ in range(60):
            slot, write = generator.randrange(config.slots), random_field(config, generator)
            await driver.write(slot, *write)
            model[slot].write(*write)
        driver.reads.send(range(config.slots))  # one waits behind the other
        for slot in range(config.slots):
            words = await driver.receive()
            for name in ("CYCLES", "PASSES"):  # stamps of BEGIN: the next test's
                words[RECORD.word(name)] = 0
            harness.assert_same(f"record {slot}", words, model[slot].read())
    assert driver.sink.empty()


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def counts(dut, pause):
    """Cycles and passes from BEGIN, for two slots that overlap and around 2^32.

    A read-out in progress is not disturbed.
    """
    config = harness.config()
    driver = Driver(dut, config, pause)
    dut.passes.value = 2**32 - 3
    await harness.start(dut)
    begun, now = {}, cocotb.utils.get_sim_time
    for slot in {0, config.slots - 1}:
        await driver.write(slot, Field.BEGIN, data=slot)
        begun[slot] = now("step")
        await ClockCycles(dut.clk, 3)
    await ClockCycles(dut.clk, 100)
    dut.passes.value = 4
    reading = cocotb.start_soon(driver.read(0))
    await ClockCycles(dut.clk, 8)
    for slot in begun:
        await driver.write(slot, Field.CYCLES)
        begun[slot] = (now("step") - begun[slot]) // 10_000
        await driver.write(slot, Field.PASSES)
    assert (await reading)[RECORD.word("TAG")] == 0
    for slot, cycles in begun.items():
        words = await driver.read(slot)
        got = tuple(words[RECORD.word(name)] for name in ("TAG", "CYCLES", "PASSES"))
        assert got == (slot, cycles, 7), words
    assert driver.sink.empty()


CONFIGS = [
    harness.small(),
    harness.small(tokens=3, slots=1, positions=15),
    harness.small(slots=8, layers=12),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.tokens}_{config.slots}")
def test_record(config):
    harness.run_bench(
        RecordMemory(config),
        "sim.bench.queue.test_record",
        f"record_{config.tokens}_{config.slots}",
        config=config,
    )
