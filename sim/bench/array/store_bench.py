# SPDX-License-Identifier: Apache-2.0
"""What drives the store and checks it: columns of the array, one operation or several."""

import random

import torch
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.columns import PORTION
from firmware.isa import Function, Target
from golden_model import softmax as golden
from golden_model.adaptivfloat import encode_fixed
from golden_model.fixed import Saturations, align
from golden_model.gelu import gelu
from golden_model.requantize import requantize
from hw.array.column import Kind
from hw.array.drain import NOWHERE
from hw.array.store import Store
from sim.bench import harness
from sim.bench.players import pulses, silence

SHIFT, ALIGN, ENCODE, CONTEXT_SHIFT = 3, 1, 5, 24


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(11)
        self.block = Store(self.config)
        self.t = self.config.tokens
        self.p = self.config.columns
        idle, stall = harness.pauses(pause)
        self.columns = harness.Source(dut, "columns", self.block.columns.payload.shape(), idle)
        self.totals = harness.Source(dut, "denominators", self.block.denominators.payload.shape())
        self.scores = harness.Sink(dut, "scores", self.block.scores.payload.shape(), stall)
        silence(dut, self.block)
        self.writes, self.rows, self.stored = (
            pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape())
            for name in ("write", "value_write", "stored")
        )
        self.retired, self.ended = pulses(dut, "retired"), pulses(dut, "ended")
        self.counter, self.saturations = harness.Counter(dut, "saturated"), Saturations()

    def command(self, kind, groups, number, width, first=0, **flags):
        """The columns of a command on one tile, from group `first` on.

        width : real columns of a group, the others are padding
        """
        generator = self.generator
        meta = {
            "kind": kind.value,
            "tile": number % 3,
            "live": generator.randrange(1, 1 << self.t),
            "offset": 100 * number,
            "slot": 1,
            "head": 1,
            **flags,
        }
        columns = []
        for group in range(first, first + groups):
            for lane in range(self.p):
                size = 2 ** generator.uniform(4, 19)
                columns.append(
                    {
                        "accumulators": [
                            int(generator.uniform(-size, size)) for _ in range(self.t)
                        ],
                        "bias": generator.randint(-5000, 5000),
                        "destination": (
                            group
                            if kind == Kind.LINEAR and self.target == Target.VALUES
                            else group * self.p + lane
                        )
                        if lane < width
                        else NOWHERE,
                        "last": int((group, lane) == (first + groups - 1, self.p - 1)),
                        "meta": meta,
                    }
                )
        return columns

    async def run(
        self, target, function, commands, kind=Kind.LINEAR, totals=None, align_from=ALIGN
    ):
        """Send the commands; returns their columns with the values that they should have."""
        dut, self.target = self.dut, target
        for name, value in (
            ("shift", SHIFT),
            ("align", align_from),
            ("function", function),
            ("encode", ENCODE),
            ("target", target),
            ("context_shift", CONTEXT_SHIFT),
        ):
            harness.drive(dut, name, getattr(self.block, name).shape(), value)
        for found in (self.writes, self.rows, self.stored, self.retired, self.ended):
            found.clear()
        columns = [
            column
            for number, (groups, width) in enumerate(commands)
            for column in self.command(
                kind, groups, number, width, end=1, final=int(number == len(commands) - 1)
            )
        ]
        if totals:
            self.totals.send([totals])
            await self.totals.wait()
        self.columns.send(columns)
        await self.columns.wait()
        return [
            (column, self.value(column, function, totals, align_from=align_from))
            for column in columns
            if column["destination"] != NOWHERE
        ]

    def value(self, column, function, totals=None, shift=SHIFT, align_from=ALIGN):
        """What the column becomes, its live lanes' saturations counted."""
        accumulators = torch.tensor(column["accumulators"])
        live = torch.tensor([bool(column["meta"]["live"] >> n & 1) for n in range(self.t)])
        result = None
        for chosen, saturations in ((slice(None), None), (live, self.saturations)):
            if totals:
                y = golden.context(
                    accumulators[chosen],
                    torch.tensor(totals)[chosen],
                    CONTEXT_SHIFT,
                    self.config.format,
                    saturations,
                )
            else:
                y = requantize(
                    accumulators[chosen], torch.tensor(column["bias"]), shift, saturations
                )
            if function == Function.GELU:
                y = gelu(align(y, align_from, 0, saturations), "gelu")
            result = y if result is None else result
        return result

    async def settle(self, commands, retired=True, ended=True):
        await ClockCycles(self.dut.clk, 60)
        harness.assert_same("ended", len(self.ended), int(ended))
        assert self.dut.progress.value == 0, "of nothing"
        harness.assert_same("retired", len(self.retired), len(commands) if retired else 0)

    def codes(self, values, encode=ENCODE):
        return encode_fixed(values, encode, 0, self.config.format).tolist()

    def check_writes(self, want, coded):
        """Live lanes of every real column, in order."""
        got = [word for word in self.writes if word["lanes"]]
        harness.assert_same(
            "writes",
            [(word["address"], word["lanes"]) for word in got],
            [
                (column["meta"]["offset"] + column["destination"], column["meta"]["live"])
                for column, _ in want
            ],
        )
        for word, (column, values) in zip(got, want, strict=True):
            expected = self.codes(values) if coded else values.tolist()
            harness.assert_same(
                f"column {column['destination']}", word["codes" if coded else "values"], expected
            )
        assert not self.rows

    def check_rows(self, want):
        """VALUES: a word of P features for each live row."""
        memory, expected = {word["address"]: word["codes"] for word in self.rows}, {}
        lane, previous = 0, None
        for column, values in want:
            meta, place = column["meta"], (column["meta"]["offset"], column["destination"])
            lane, previous = (lane + 1 if place == previous else 0), place
            for row, code in enumerate(self.codes(values)):
                if meta["live"] >> row & 1:
                    address = (
                        meta["offset"]
                        + column["destination"] * self.config.rows
                        + meta["tile"] * self.t
                        + row
                    )
                    expected.setdefault(address, []).append(code)
        harness.assert_same("rows", sorted(memory), sorted(expected))
        for address, codes in expected.items():
            harness.assert_same(f"row at {address}", memory[address][: len(codes)], codes)
        assert not self.writes


BEHIND = [
    (Target.CODES, Function.GELU),
    (Target.SUM, Function.NONE),
    (Target.VALUES, Function.NONE),
    (Target.KEYS, Function.NONE),
    (Target.CODES, Function.NONE),
    (Target.VALUES, Function.GELU),
    (Target.SCORES, Function.NONE),
]


class Behind(Bench):
    """LINEARs whose columns come without a pause.

    The next one's fields and turn come when one has ended, or later.
    """

    def operation(self, number, target, function):
        """(fields, columns): two blocks on three tiles."""
        fields = {
            "turn": number % 2,
            "shift": 2 + number % 4,
            "align": ALIGN,
            "function": function,
            "encode": ENCODE + number,
            "target": target,
        }
        self.target, columns = target, []
        size = PORTION + 1 if target == Target.SUM else 1
        for first, groups, width, final in (
            (0, 2 * size, self.p, 0),
            (2 * size, size, self.p - 1, 1),
        ):
            for tile in range(3):
                columns += self.command(
                    Kind.LINEAR,
                    groups,
                    tile,
                    width,
                    first,
                    turn=fields["turn"],
                    final=final,
                    end=int(tile == 2),
                )
        return fields, columns

    async def issue(self, operations):
        for fields, columns in operations:
            for name, value in fields.items():
                harness.drive(self.dut, name, getattr(self.block, name).shape(), value)
            await self._watch(
                fields, [column for column in columns if column["destination"] != NOWHERE]
            )
            for _ in range(self.generator.choice([0, 0, 3, 20])):
                await RisingEdge(self.dut.clk)
                assert self.dut.columns__valid.value == 0 or self.dut.columns__ready.value == 0, (
                    "a column whose turn is not"
                )

    async def _watch(self, fields, columns):
        """Until it has `ended`: `progress` is that of the last word written in an earlier cycle.

        Of SUM it is that of the word's portion; with the end everything is written.
        """
        dut = self.dut
        rows = 0
        progress = {"tile": 0, "words": 0, "final": 0, "last": 0}
        portion = PORTION * self.p
        left = list(columns)
        while True:
            await RisingEdge(dut.clk)
            harness.assert_same(
                "progress",
                harness.read_port(dut, "progress", self.block.progress.shape()),
                progress,
            )
            rows += dut.value_write_valid.value == 1
            if (
                dut.write_valid.value == 1
                and harness.read_port(dut, "write", self.block.write.shape())["lanes"]
            ):
                column, meta = left[0], left.pop(0)["meta"]
                words = (
                    column["destination"] + 1
                    if fields["target"] in (Target.CODES, Target.KEYS)
                    else column["destination"] // portion * portion
                )
                progress = {
                    "tile": meta["tile"],
                    "words": words,
                    "final": meta["final"],
                    "last": meta["end"],
                }
            if dut.ended.value == 1:
                break
        if fields["target"] == Target.VALUES:
            groups = {
                (column["meta"]["tile"], column["destination"]): column["meta"]["live"]
                for column in columns
            }
            assert rows == sum(live.bit_count() for live in groups.values()), (
                "ended before its rows are written"
            )
        else:
            assert not left, "ended before its columns are written"

    def check(self, operations):
        """The writes of all operations in order, and what was traced."""
        writes = iter([word for word in self.writes if word["lanes"]])
        stored = iter(self.stored)
        for fields, columns in operations:
            coded = fields["target"] not in (Target.SUM, Target.SCORES)
            for column in (column for column in columns if column["destination"] != NOWHERE):
                values = self.value(column, fields["function"], shift=fields["shift"])
                harness.assert_same("stored", next(stored)["values"], values.tolist())
                if fields["target"] != Target.VALUES:
                    word = next(writes)
                    harness.assert_same(
                        "address", word["address"], column["meta"]["offset"] + column["destination"]
                    )
                    harness.assert_same(
                        "word",
                        word["codes" if coded else "values"],
                        self.codes(values, fields["encode"]) if coded else values.tolist(),
                    )
        assert next(writes, None) is None and next(stored, None) is None
