# SPDX-License-Identifier: Apache-2.0
"""What drives the array and checks it: tiles, weight streams, dense entries and commands."""

import cocotb
import numpy as np
import torch
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.columns import BIAS_BITS, PADDING, pack_columns
from golden_model.mac_array import mac_array
from hw.array.mac_array import MacArray
from sim.bench import harness

META = 6
DENSITIES = (0, 1, 0.4, 0.2, 0.05)


class Array:
    """The array and its streams, and the columns that are expected of it."""

    def __init__(self, dut, pause, seed=1):
        self.config = harness.config()
        self.dut = dut
        block = MacArray(harness.config(), meta=META)
        self.random = np.random.default_rng(seed)
        self.inputs = {
            name: harness.Source(
                dut,
                name,
                getattr(block, name).payload.shape(),
                harness.pauses(pause, seed=index)[0],
            )
            for index, name in enumerate(("i_weights", "i_dense", "i_load", "i_command"))
        }
        self.sink = harness.Sink(
            dut, "o", block.o.payload.shape(), harness.pauses(pause, seed=9)[1]
        )
        self.want, self.commands = [], 0

    def send(self, name, words):
        self.inputs[name].send(words)

    def codes(self, shape, density=1.0):
        codes = self.random.integers(0, 1 << self.config.format.bits, shape)
        return np.where(self.random.random(shape) < density, codes, 0)

    def load(self, tile):
        """Load a (T, K) tile of codes."""
        rows = tile.T.tolist()
        self.send(
            "i_load", [{"codes": row, "last": k == len(rows) - 1} for k, row in enumerate(rows)]
        )

    def command(self, tile, columns, rewind, free, **dense):
        """Run the groups of `columns` on a (T, K) tile that was loaded.

        columns : rows of P (bias, destination, codes)
        """
        meta = self.commands = (self.commands + 1) % (1 << META)
        fields = {"dense": 0, "base": 0, "lanes": 0} | dense
        self.send(
            "i_command",
            [{"groups": len(columns), "rewind": rewind, "free": free, "meta": meta, **fields}],
        )
        for index, group in enumerate(columns):
            weights = torch.tensor(np.array([codes for _, _, codes in group]))
            products = mac_array(
                torch.tensor(tile), weights.T, self.config.format
            ).T.tolist()  # (P, T)
            for lane, (bias, destination, _) in enumerate(group):
                last = index == len(columns) - 1 and lane == len(group) - 1
                self.want.append(
                    {
                        "accumulators": products[lane],
                        "bias": bias,
                        "destination": destination,
                        "last": int(last),
                        "meta": meta,
                    }
                )

    def linear(self, codes, tiles, block=None, part=1, meanwhile=None):
        """A LINEAR of (N, K) weights on (T, K) tiles, block by block as `Linear` does it.

        part : of the weights that arrives

        meanwhile : called when the weights have been sent, before the work on them
        """
        largest = (1 << min(BIAS_BITS, self.config.accumulator_bits) - 1) - 1
        biases = [
            int(b) for b in self.random.integers(-largest - 1, largest, len(codes), endpoint=True)
        ]
        destinations = self.random.permutation(len(codes)).tolist()
        packed = pack_columns(
            codes, biases, destinations, self.config.columns, self.config.bus_bytes
        )
        columns = [*zip(biases, destinations, codes, strict=True), (0, PADDING, 0 * codes[0])]
        groups = [[columns[slot] for slot in group] for group in packed.slots.tolist()]
        self.dut.reduction.value, self.dut.groups.value = codes.shape[1], packed.groups
        step = block or packed.block(self.config.bus_bytes, self.config.weight_depth, len(tiles))
        words = np.frombuffer(packed.data, np.uint8).reshape(-1, self.config.bus_bytes)
        words = words[: int(part * len(words))]
        self.send(
            "i_weights",
            [
                {"data": int.from_bytes(word.tobytes(), "little"), "first": not index}
                for index, word in enumerate(words)
            ],
        )
        if meanwhile:
            meanwhile()
        for start in range(0, packed.groups, step):
            final = start + step >= packed.groups
            for index, tile in enumerate(tiles):
                if start == 0 or len(tiles) > 1:
                    self.load(tile)
                self.command(
                    tile,
                    groups[start : start + step],
                    rewind=index < len(tiles) - 1,
                    free=len(tiles) > 1 or final,
                )
        return packed

    def dense(self, codes, tiles, by_lane):
        """An attention product of (N, K) operands on each tile.

        by_lane : token by token, a lane after the other; otherwise feature by feature into all
        """
        lanes, reduction = self.config.columns, codes.shape[1]
        turns = [1 << lane for lane in range(lanes)] if by_lane else [(1 << lanes) - 1]
        for tile in tiles:
            self.load(tile)
            for start in range(0, len(codes), lanes):
                part = np.zeros((lanes, reduction), int)
                count = len(codes[start : start + lanes])
                part[:count] = codes[start : start + lanes]
                self.send(
                    "i_dense",
                    [
                        {
                            "lanes": turn,
                            "k": k,
                            "codes": part[:, k].tolist(),
                            "last": k == reduction - 1,
                        }
                        for turn in turns
                        for k in range(reduction)
                    ],
                )
                group = [
                    (0, start + lane if lane < count else PADDING, part[lane])
                    for lane in range(lanes)
                ]
                self.command(
                    tile,
                    [group],
                    0,
                    start + lanes >= len(codes),
                    dense=1,
                    base=start,
                    lanes=(1 << count) - 1,
                )

    async def check(self):
        """Every column in order, then the array is empty."""
        harness.assert_same("columns", await self.sink.receive(len(self.want)), self.want)
        self.want = []
        await ClockCycles(self.dut.clk, 20)
        assert self.sink.empty() and self.dut.idle.value == 1

    def tiles(self, count, reduction):
        return [self.codes((self.config.tokens, reduction)) for _ in range(count)]


class Counters:
    """Sums of the array's counters: a cycle is busy, or has one reason not to be, or none."""

    STATES = ("busy", "stall_weights", "stall_load", "stall_drain")
    NAMES = (*STATES, "macs")

    def __init__(self, dut):
        self._dut = dut
        self.values = dict.fromkeys(self.NAMES, 0)
        cocotb.start_soon(self._run())

    async def _run(self):
        while True:
            await RisingEdge(self._dut.clk)
            now = {name: int(getattr(self._dut, name).value) for name in self.NAMES}
            assert sum(now[name] for name in self.STATES) <= 1, f"{now} in a cycle"
            assert bool(now["macs"]) == bool(now["busy"]), f"{now} in a cycle"
            for name in self.NAMES:
                self.values[name] += now[name]

    def take(self):
        values, self.values = self.values, dict.fromkeys(self.NAMES, 0)
        return values
