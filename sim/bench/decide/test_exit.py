# SPDX-License-Identifier: Apache-2.0
"""hw/decide/exit.py against golden_model/entropy.py and exit.py.

Each slot's logits from its lane, who ends, what the row table is told.
"""

import random

import cocotb
import pytest
import torch
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

from golden_model.entropy import entropy_sums, is_sure, reported_entropy
from golden_model.exit import argmax
from golden_model.formats import EXP_IN_FRAC
from hw.decide.exit import Exit, cycles
from hw.rows.layouts import RowCommand, row_command_layout
from sim.bench import harness
from sim.bench.players import WordPlayer, instruction_bits, pulse, pulses, silence, slot_table

BASE, STRIDE, FRAC = 70, 24, 9


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(12)
        self.block, self.stall = Exit(self.config), harness.pauses(pause, 7)[1]
        silence(dut, self.block)
        self.words = WordPlayer(dut, self.block, "scores", self._word, pause)
        self.finished = harness.Sink(
            dut, "o_finish", self.block.o_finish.payload.shape(), harness.pauses(pause, 3)[1]
        )
        self.verdicts, self.logits = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape())
            for name in ("verdict", "logit")
        )
        self.done = pulses(dut, "done")
        self.scores, self.commands = {}, []
        cocotb.start_soon(self._rows())

    def _word(self, address):
        tile, feature = divmod(address - BASE, STRIDE)
        return [
            self.scores[tile * self.config.tokens + lane][feature]
            for lane in range(self.config.tokens)
        ]

    async def _rows(self):
        """The row table: a command is done in the next cycle, COMPACT some cycles later."""
        dut, layout = self.dut, row_command_layout(self.config)
        while True:
            dut.o_rows__ready.value = int(self.stall is None or not next(self.stall))
            ready = dut.o_rows__ready
            await RisingEdge(dut.clk)
            if dut.rst.value == 0 and ready.value == 1 and dut.o_rows__valid.value == 1:
                bits = (
                    dut.o_rows__payload.value
                )  # those of fields that no command names are undefined
                command, slot, mask, release = (
                    bits[field.offset + field.width - 1 : field.offset].to_unsigned()
                    for field in (layout[name] for name in ("command", "slot", "mask", "release"))
                )
                name = RowCommand(command)
                assert mask == 0, "rows are dropped"
                self.commands.append((name, release if name == RowCommand.COMPACT else slot))
                if name == RowCommand.COMPACT:
                    ready.value = 0
                    await ClockCycles(dut.clk, self.generator.choice([1, 5, 40, 120]))
                    assert not self.done, "done before the row table was"
                cocotb.start_soon(pulse(dut, "rows_done"))

    async def run(self, mask, threshold, layers, classes, logits=None, **values):
        """One EXIT; `logits` by slot, random ones where None. Compares everything that leaves."""
        dut = self.dut
        config = self.config
        generator = self.generator
        spread = generator.choice([2, 900, 9000, 32767])
        lanes = -(-config.slots // config.tokens) * config.tokens
        self.scores = {
            slot: (logits or {}).get(
                slot, [generator.randint(-spread - 1, spread) for _ in range(classes)]
            )
            for slot in range(lanes)
        }
        harness.drive(
            dut,
            "slots",
            self.block.slots.shape(),
            [
                {**slot, "layer": layer}
                for slot, layer in zip(slot_table(config, *[1] * config.slots), layers, strict=True)
            ],
        )
        harness.drive(dut, "mask", unsigned(config.slots), mask)
        harness.drive(dut, "threshold", unsigned(18), threshold)
        values = {
            "groups": 1,
            "reduction": classes,
            "source_base": BASE,
            "source_stride": STRIDE,
            "score_align": FRAC - EXP_IN_FRAC,
            **values,
        }
        harness.drive(dut, "instruction", unsigned(256), instruction_bits(**values))
        for found in (self.verdicts, self.logits, self.done, self.commands, self.words.asked):
            found.clear()
        await pulse(dut, "start")
        begun = get_sim_time("ns")
        verdicts, finished = self.golden(mask, threshold, layers, values)
        harness.assert_same("finish", await self.finished.receive(len(finished)), finished)
        while not self.done:
            await RisingEdge(dut.clk)
        self.cycles = (get_sim_time("ns") - begun) // harness.CLOCK_NS
        await ClockCycles(dut.clk, 3)
        harness.assert_same("verdicts", self.verdicts, verdicts)
        self.compare_words([one["slot"] for one in verdicts], classes)
        release = sum(1 << one["slot"] for one in finished)
        staying = [slot for slot in range(config.slots) if (mask & ~release) >> slot & 1]
        harness.assert_same(
            "commands",
            self.commands,
            [
                *((RowCommand.ADVANCE, slot) for slot in staying),
                *[(RowCommand.COMPACT, release)] * (release > 0),
            ],
        )
        assert len(self.done) == 1 and self.finished.empty()
        return release

    def golden(self, mask, threshold, layers, values):
        """(verdicts, sentences that end) of the selected slots, as the golden model has them."""
        deciding = [
            slot for slot in range(self.config.slots) if mask >> slot & 1 and values["groups"]
        ]
        verdicts, finished = [], []
        for slot in deciding:
            x = torch.tensor(self.scores[slot])
            z, s = entropy_sums(x, FRAC)
            exits = int(is_sure(z, s, threshold)) & ("exit" in self.config.units) | values.get(
                "final", 0
            )
            verdicts.append(
                {
                    "slot": slot,
                    "layer": layers[slot],
                    "entropy": int(reported_entropy(z, s)),
                    "exits": exits,
                }
            )
            finished += (
                [{"slot": slot, "layer": layers[slot] + 1, "label": argmax(x)}] if exits else []
            )
        return verdicts, finished

    def compare_words(self, deciding, classes):
        """The logits that were told, and the words that were asked for, of the slots decided on."""
        config = self.config
        harness.assert_same(
            "logits",
            self.logits,
            [
                {"slot": slot, "index": i, "value": x}
                for slot in deciding
                for i, x in enumerate(self.scores[slot])
            ],
        )
        harness.assert_same(
            "requests",
            self.words.asked,
            [(BASE + slot // config.tokens * STRIDE, classes) for slot in deciding],
        )


def edge(logits):
    """The least threshold at which these logits exit."""
    z, s = entropy_sums(torch.tensor(logits), FRAC)
    return next(
        threshold
        for threshold in range(int(reported_entropy(z, s)) - 3, 2**18)
        if is_sure(z, s, threshold)
    )


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def exiting(dut, pause):
    """Random masks, layers, logits; nobody, everybody, some."""
    test = Bench(dut, pause)
    config, generator = test.config, test.generator
    await harness.start(dut, 50_000)
    every, released = (1 << config.slots) - 1, set()
    for step in range(8):
        mask = every if step < 3 else generator.randint(1, every)
        threshold = [0, 2**18 - 1, 2**15, *[generator.randrange(2**17) for _ in range(5)]][step]
        layers = [generator.randrange(config.layers) for _ in range(config.slots)]
        released.add(
            await test.run(mask, threshold, layers, generator.choice([1, 2, config.classes]))
        )
    if "exit" in config.units:
        assert every in released and 0 in released


@cocotb.test()
async def threshold(dut):
    """Just below and at the edge; of equal logits the lowest class wins."""
    test = Bench(dut, "none")
    await harness.start(dut, 50_000)
    config = test.config
    slot, present = config.slots - 1, "exit" in config.units
    for logits in ([5, 900, 900], [-400, 17, 16], [0, 0, 0]):
        for above in (0, 1):
            release = await test.run(
                1 << slot, edge(logits) - 1 + above, [0] * config.slots, 3, {slot: logits}
            )
            assert release == (above and present) << slot


@cocotb.test()
@cocotb.parametrize(pause=["none", "both"])
async def forced(dut, pause):
    """`final` ends all whatever the entropy; groups = 0 only moves on; nobody selected."""
    test = Bench(dut, pause)
    await harness.start(dut, 50_000)
    config = test.config
    every, last = (1 << config.slots) - 1, [config.layers - 1] * config.slots
    for _ in range(2):
        assert await test.run(every, 0, last, config.classes, final=1) == every
        assert await test.run(every, 2**18 - 1, [1] * config.slots, config.classes, groups=0) == 0
        assert await test.run(0, 2**18 - 1, last, config.classes, final=1) == 0


@cocotb.test()
async def speed(dut):
    """Slots that stay: those of the docstring."""
    test = Bench(dut, "none")
    await harness.start(dut, 50_000)
    config = test.config
    every, layers = (1 << config.slots) - 1, [0] * config.slots
    await test.run(0, 0, layers, 2)
    nothing = test.cycles
    for classes in range(1, config.classes + 1):
        await test.run(every, 0, layers, classes)
        harness.assert_same(
            f"{classes} classes", test.cycles - nothing, config.slots * cycles(classes)
        )
    await test.run(every, 0, layers, 2, groups=0)
    harness.assert_same("only moves on", test.cycles - nothing, config.slots * cycles(0))


CONFIGS = {
    "2": harness.small(),
    "5": harness.small(tokens=3, slots=5, rows=18),
    "never": harness.small(units={"drop"}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_exit(name):
    harness.run_bench(
        Exit(CONFIGS[name]), "sim.bench.decide.test_exit", f"exit_{name}", config=CONFIGS[name]
    )
