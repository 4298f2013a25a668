# SPDX-License-Identifier: Apache-2.0
"""hw/queue/results.py against the record of firmware/record.py.

Events of sentences that overlap, records written; the writer is Python.
"""

import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.error_codes import Error
from firmware.record import RECORD
from hw.bus.transfer import transfer_layout
from hw.decide.exit import Exit
from hw.queue.admission import Admission
from hw.queue.record import Field
from hw.queue.results import Results
from sim.bench import harness
from sim.bench.players import SlotRecord, pulse, silence

BASE, SIZE = 0x4000, 0x1000
VERDICT, SHAPE = RECORD["VERDICT"], RECORD["TOKENS_PER_LAYER"]
FAILURES = [error for error in Error if error.is_sentence]


def block_of(config):
    admission, exiting = Admission(config), Exit(config)
    return Results(
        config,
        *(
            stream.payload.shape()
            for stream in (admission.o_begin, admission.o_finish, exiting.o_finish)
        ),
        exiting.logit.shape(),
        exiting.verdict.shape(),
    )


class Bench:
    """The block, its slots' records and where their sentences go."""

    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(11)
        self.block = block_of(self.config)
        (_, stall), (idle, hold) = harness.pauses(pause), harness.pauses(pause, seed=5)
        silence(dut, self.block)
        self.begins = harness.Source(dut, "begin", self.block.begin.payload.shape(), idle)
        self.ends = {
            name: harness.Source(dut, name, getattr(self.block, name).payload.shape())
            for name in ("failure", "success")
        }
        self.requests = harness.Sink(dut, "o_request", transfer_layout(), stall)
        self.words = harness.Sink(dut, "o_data", unsigned(32), hold)
        self.records = {}
        self.sentences = {}
        self.started = {}
        self.cycle = 0
        self.written = 0
        self.passes = 0
        self.predicted = [0] * self.config.slots
        dut.base.value, dut.size.value = BASE, SIZE
        cocotb.start_soon(self._clock())

    async def _clock(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1

    def passed(self, passes):
        self.passes = self.dut.passes.value = passes % 2**32

    async def begin(self, slot, sentence):
        """A sentence begins; its record is cleared before anything else happens to it."""
        tag, count = self.generator.getrandbits(32), self.generator.getrandbits(16)
        self.records[slot], self.sentences[slot] = SlotRecord(self.config, tag), sentence
        self.records[slot]["VERDICT"] = VERDICT["TOKENS"].put(count)
        self.records[slot]["PASSES"] = -self.passes
        self.begins.send(
            [{"slot": slot, "sentence": sentence, "tag": tag, "deadline": 5, "count": count}]
        )
        await self.begins.wait()
        self.started[slot] = self.cycle

    async def event(self, slot):
        """One event of a slot."""
        config, generator = self.config, self.generator
        name = generator.choice(["tokens", "dropped", "logit", "verdict"])
        layer, value = generator.randrange(config.layers), generator.randrange(-32768, 32768)
        number = {
            "dropped": generator.randrange(config.positions),
            "logit": generator.randrange(config.classes),
        }.get(name, layer)
        payload = {
            "tokens": {"layer": layer, "entering": value & 511, "kept": value & 255},
            "dropped": {"layer": layer, "position": number},
            "logit": {"index": number, "value": value},
            "verdict": {"layer": layer, "entropy": value & 0xFFFF, "exits": value & 1},
        }[name]
        field, word = {
            "tokens": (
                Field.TOKENS,
                SHAPE["ENTERING"].put(value & 511) | SHAPE["LIVE"].put(value & 255),
            ),
            "dropped": (Field.DROPPED, layer),
            "logit": (Field.LOGIT, value % 2**32),
            "verdict": (Field.ENTROPY, value & 0xFFFF),
        }[name]
        harness.drive(self.dut, name, getattr(self.block, name).shape(), {"slot": slot, **payload})
        await pulse(self.dut, f"{name}_valid")
        self.records[slot].write(field, number, word)

    async def finish(self, slot, name, wait=False, **payload):
        """The record of a slot as it is written.

        `wait`: the memory takes its time, and the stream stays.
        """
        dut = self.dut
        record = self.records[slot]
        size = RECORD.words(self.config)
        self.ends[name].send([{"slot": slot, **payload}])
        record["STATUS"] = payload.get("status", 0)
        record["DETAIL"] = payload.get("detail", 0)
        record["VERDICT"] |= VERDICT["PREDICTED_CLASS"].put(payload.get("label", 0))
        record["VERDICT"] |= VERDICT["EXIT_LAYER"].put(payload.get("layer", 0))
        record["PASSES"] = (record["PASSES"] + self.passes) % 2**32
        record["PREDICTED_EXIT"] = self.predicted[slot]
        (asked,) = await self.requests.receive(1)
        end = self.cycle
        harness.assert_same(
            "request",
            asked,
            {
                "address": BASE + self.sentences[slot] * 4 * size,
                "words": size,
                "base": BASE,
                "size": SIZE,
            },
        )
        got = await self.words.receive(size)
        cycles = got[RECORD.word("CYCLES")]
        got[RECORD.word("CYCLES")] = 0  # bounded below
        harness.assert_same("record", got, record.read())
        assert 0 < cycles < end - self.started[slot], (
            f"{cycles} cycles, at most {end - self.started[slot]}"
        )
        await ClockCycles(dut.clk, 30 if wait else 1)
        assert dut.finished.value == self.written, "counted before it was written"
        assert self.ends[name].level, "the stream was taken before the record was written"
        await pulse(dut, "written")
        await self.ends[name].wait()
        await RisingEdge(dut.clk)
        self.written += 1
        assert dut.finished.value == self.written
        return cycles

    async def settle(self):
        """While a record is cleared nothing can happen to a sentence.

        Its tokens are still to be read.
        """
        await ClockCycles(self.dut.clk, RECORD.words(self.config) + 2)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def overlapping(dut, pause):
    """Sentences in all slots, events in any order, ends in any order."""
    test = Bench(dut, pause)
    config, generator = test.config, test.generator
    await harness.start(dut, 20_000)
    waiting, running = list(range(10)), set()
    test.passed(2**32 - 2)
    while waiting or running:
        free = sorted(set(range(config.slots)) - running)
        if waiting and free and generator.random() < 0.6:
            slot = generator.choice(free)
            await test.begin(slot, waiting.pop(0))
            running.add(slot)
            await test.settle()
            test.predicted[slot] = generator.randrange(config.layers + 1)
            harness.drive(dut, "predicted", test.block.predicted.shape(), test.predicted)
        for _ in range(generator.randrange(8) if running else 0):
            await test.event(generator.choice(sorted(running)))
        test.passed(test.passes + 1)
        if running and generator.random() < 0.5:
            slot = generator.choice(sorted(running))
            running.remove(slot)
            if generator.random() < 0.7:
                await test.finish(
                    slot,
                    "success",
                    layer=generator.randint(1, config.layers),
                    label=generator.randrange(16),
                )
            else:
                await test.finish(
                    slot,
                    "failure",
                    status=generator.choice(FAILURES),
                    detail=generator.getrandbits(16),
                    wait=True,
                )
    assert test.requests.empty() and test.words.empty()
    await pulse(dut, "clear")
    await RisingEdge(dut.clk)
    assert dut.finished.value == 0


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def at_once(dut, pause):
    """Sentences that fail when they begin, before their record is cleared.

    The next one begins at once.
    """
    test = Bench(dut, pause)
    await harness.start(dut, 20_000)
    for number, status in enumerate(FAILURES):
        await test.begin(0, 3 * number)
        await test.finish(0, "failure", status=status, detail=number)


@cocotb.test()
async def time(dut):
    """Cycles from begin to end; an end in the cycle of its verdict: both are written."""
    test = Bench(dut, "none")
    await harness.start(dut, 20_000)
    for number in range(4):
        await test.begin(0, number)
        await ClockCycles(dut.clk, 200 + 7 * number)
        if number % 2:
            harness.drive(
                dut,
                "verdict",
                test.block.verdict.shape(),
                {"slot": 0, "layer": 1, "entropy": 0x2FFFF, "exits": 1},
            )
            cocotb.start_soon(pulse(dut, "verdict_valid"))
            test.records[0].write(Field.ENTROPY, 1, 0x2FFFF)
        before = test.cycle - test.started[0]
        cycles = await test.finish(0, "success", layer=2, label=1)
        assert before <= cycles <= before + 6, f"{cycles} cycles, not {before}"


@pytest.mark.parametrize("slots", [1, 3])
def test_results(slots):
    config = harness.small(slots=slots)
    harness.run_bench(
        block_of(config), "sim.bench.queue.test_results", f"results_{slots}", config=config
    )
