# SPDX-License-Identifier: Apache-2.0
"""What NORM reads: SUM while the operation before writes it, NORMED and the gather, in Python."""

import itertools
import random

import cocotb
from amaranth import Module, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.isa import Source, Target
from golden_model.hardware import ceil_div
from hw.array.layernorm import parameter_layout
from hw.array.norm import Norm
from hw.buffer import Buffer
from hw.rows.gather import Gather
from hw.shapes import ACT
from sim.bench import harness
from sim.bench.players import WordPlayer, pulse, silence, slot_table

CASES = [  # residual from (or None), normalize, target, features, slots, without SUM
    (Source.STATE, 1, Target.NORMED, 8, 0b101),
    (Source.NORMED, 1, Target.STATE, 8, 0b101),
    (Source.STATE, 1, Target.STATE, 7, 0b111),
    (None, 0, Target.STATE, 10, 0b010),
    (Source.STATE, 1, Target.NORMED, 9, 0b110, 1),
    (None, 1, Target.STATE, 1, 0b100),
    (None, 0, Target.NORMED, 5, 0b111),
    (Source.NORMED, 0, Target.NORMED, 9, 0b001),
    (Source.NORMED, 1, Target.STATE, 11, 0b110),
    (Source.NORMED, 0, Target.STATE, 6, 0b011, 1),
]
LONGEST = max(case[3] for case in CASES)


class Front(wiring.Component):
    """Norm and the buffer SUM that it reads, joined as in hw/datapath.py."""

    def __init__(self, config):
        self.norm = Norm(config, Gather(config).request)
        self.sum = Buffer(ACT, config.tokens, config.rows * LONGEST)
        members = {
            name: member
            for name, member in self.norm.signature.members.items()
            if not name.startswith("sum_")
        }
        super().__init__(
            members
            | {
                "sum_index": Out(16),
                "sum_write": In(1),
                "sum_write_address": In(32),
                "sum_write_data": In(self.sum.word),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.norm, m.submodules.sum = norm, buffer = self.norm, self.sum
        for name, member in norm.signature.members.items():
            if name in self.signature.members and member.is_port:
                m.d.comb += (
                    getattr(self, name).eq(getattr(norm, name))
                    if member.flow == Out
                    else getattr(norm, name).eq(getattr(self, name))
                )
            elif member.is_signature and name in self.signature.members:
                wiring.connect(m, getattr(norm, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, norm.sum_request, buffer.i)
        wiring.connect(m, buffer.o, norm.sum_words)
        m.d.comb += [
            buffer.hold.eq(norm.sum_hold),
            norm.sum_index.eq(buffer.index),
            self.sum_index.eq(buffer.index),
            buffer.write_lanes.eq(-1),
            *(
                getattr(buffer, name).eq(getattr(self, f"sum_{name}"))
                for name in ("write", "write_address", "write_data")
            ),
        ]
        return m


class Sources:
    """The values of all rows, and who gives them to the block.

    `early` words of SUM were read of a tile that was not complete.
    """

    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.pause = pause
        generator = random.Random(9)
        config, self.generator = self.config, generator
        self.block = Front(config)
        self.t = config.tokens
        self.longest = LONGEST
        self.table = slot_table(config, 5, 3, config.rows - 9)
        self.values = {
            name: [
                [
                    generator.choice(
                        [generator.randint(-9000, 9000), generator.randint(-32768, 32767)]
                    )
                    for _ in range(self.longest)
                ]
                for _ in range(config.rows)
            ]
            for name in ("sum", "state", "normed")
        }
        self.pointers = [row * 16 for row in generator.sample(range(config.rows), config.rows)]
        self.features, self.source, self.stride = 1, 40, 23
        self.gather = harness.Sink(
            dut,
            "gather_request",
            self.block.gather_request.payload.shape(),
            harness.pauses(pause, 3)[1],
        )
        self.gathered = harness.Source(
            dut,
            "gather_words",
            self.block.gather_words.payload.shape(),
            harness.pauses(pause, 5)[0],
        )
        self.parameters = harness.Source(dut, "param_write", parameter_layout())
        silence(dut, self.block)
        WordPlayer(
            dut,
            self.block,
            "normed",
            lambda address: self._word("normed", address, self.source, self.stride),
            pause,
        )
        self.early = 0
        cocotb.start_soon(self._points())

    async def _sum(self, tiles, pauses=(0,)):
        """The LINEAR before: two blocks of columns on every tile; then `follow` ends.

        Each word is claimed by `written` when it is there.
        """
        dut = self.dut
        shape = self.block.written.shape()
        half = ceil_div(self.features, 2)
        for final, words in ((0, range(half)), (1, range(half, self.features))):
            for tile, word in itertools.product(tiles, words):
                address = tile * self.features + word
                harness.drive(dut, "sum_write_address", unsigned(32), address)
                harness.drive(
                    dut,
                    "sum_write_data",
                    self.block.sum.word,
                    self._word("sum", address, 0, self.features),
                )
                await pulse(dut, "sum_write")
                harness.drive(
                    dut,
                    "written",
                    shape,
                    {
                        "tile": tile,
                        "words": word + 1,
                        "final": final,
                        "last": int(tile == tiles[-1]),
                    },
                )
                for _ in range(self.generator.choice(pauses)):
                    await RisingEdge(dut.clk)
                if tile == tiles[0]:
                    self.early = max(self.early, int(dut.sum_index.value))
        dut.follow.value = 0
        harness.drive(dut, "written", shape, {})

    def _word(self, name, address, base, stride):
        tile, feature = divmod(address - base, stride)
        return [self.values[name][tile * self.t + n][feature] for n in range(self.t)]

    async def _points(self):
        """The gather: pointers of the tile that is asked for, and its words where wanted."""
        while True:
            (request,) = await self.gather.receive(1)
            self.dut.pointed.value = 0
            await ClockCycles(self.dut.clk, self.generator.choice([1, 6]))
            first = request["tile"] * self.t
            harness.drive(
                self.dut,
                "pointers",
                data.ArrayLayout(32, self.t),
                self.pointers[first : first + self.t],
            )
            self.dut.pointed.value = 1
            if request["read"]:
                count = request["features"]
                self.gathered.send(
                    [
                        {
                            "values": [self.values["state"][first + n][i] for n in range(self.t)],
                            "last": int(i == count - 1),
                        }
                        for i in range(count)
                    ]
                )
