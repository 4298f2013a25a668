# SPDX-License-Identifier: Apache-2.0
"""hw/queue/staging.py against a plain model.

Memory, free rows, embedder, residual stream and ADMIT are Python.
"""

import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.error_codes import Error
from golden_model.hardware import ceil_div
from hw.queue.embedding_sum import feature_layout
from hw.queue.staging import Staging
from hw.shapes import index
from sim.bench import harness
from sim.bench.players import instruction_bits, pulse, pulses, silence

QUEUE, TOKENS, FEATURES, POSITIONS = 0x800, 0x2000, 7, 9
UNKNOWN, BROKEN, LATE = (
    900,
    901,
    902,
)  # tokens that the embedder refuses, the last one after some features


def status_of(token):
    return {
        UNKNOWN: Error.SENTENCE_TOKEN,
        BROKEN: Error.SENTENCE_CHECK,
        LATE: Error.SENTENCE_CHECK,
    }.get(token & 0x3FF, Error.NONE)


def features_of(token):
    """What the embedder gives for a token."""
    count = (
        0
        if status_of(token) and token & 0x3FF != LATE
        else FEATURES - 2
        if status_of(token)
        else FEATURES
    )
    return [(token * 7 + feature) % 65536 - 32768 for feature in range(count)]


class Bench:
    def __init__(self, dut, pause):
        self.dut = dut
        self.config = harness.config()
        self.generator = random.Random(14)
        config, self.block = self.config, Staging(self.config)
        silence(dut, self.block)
        sink = {
            name: harness.Sink(
                dut, name, getattr(self.block, name).payload.shape(), harness.pauses(pause, i)[1]
            )
            for i, name in enumerate(
                ("o_read", "o_token", "o_word", "o_sentence", "o_row", "o_staged")
            )
        }
        self.reads, self.tokens, self.written, self.sentences, self.rows, self.staged = (
            sink.values()
        )
        self.words = harness.Source(dut, "words", unsigned(32), harness.pauses(pause, 21)[0])
        self.free = harness.Source(
            dut, "i_free", index(config.physical_rows), harness.pauses(pause, 22)[0]
        )
        self.token_done = harness.Source(
            dut, "token_done", self.block.token_done.payload.shape(), harness.pauses(pause, 23)[0]
        )
        self.tapped = pulses(dut, "embedded_valid", "embedded", self.block.embedded.shape())
        self.memory = {}
        self.given = []
        self.fetched = []
        self.outside = []
        dut.queue.value, dut.positions.value = QUEUE, POSITIONS
        dut.instruction.value = instruction_bits(word_shift=3, position_shift=-2, segment_shift=1)
        for task in (self._memory(), self._embedder(), self._write()):
            cocotb.start_soon(task)

    def load(self, lengths, bad=()):
        """A queue of sentences; `bad` are (sentence, place, token)."""
        self.queue = []
        for number, length in enumerate(lengths):
            tokens = [
                self.generator.randrange(900) | self.generator.getrandbits(1) << 31
                for _ in range(length)
            ]
            for _, place, token in (one for one in bad if one[0] == number):
                tokens[place] = token
            self.queue.append(
                {
                    "address": TOKENS + 0x100 * number,
                    "deadline": self.generator.getrandbits(32),
                    "tag": self.generator.getrandbits(32),
                    "tokens": tokens,
                }
            )
        self.dut.count.value = len(lengths)

    async def _memory(self):
        """Words come as fast as the stager must take them."""
        while True:
            (request,) = await self.reads.receive(1)
            self.fetched.append((request["address"], request["words"]))
            number = (request["address"] - QUEUE) // 16
            if request["address"] < TOKENS:
                one = self.queue[number]
                self.words.send([one["address"], len(one["tokens"]), one["deadline"], one["tag"]])
            else:
                self.words.send(self.queue[(request["address"] - TOKENS) // 0x100]["tokens"])
            await self.words.wait()

    async def _embedder(self):
        """Like hw/queue/embedding.py: a token's features come when the last one's end was taken."""
        while True:
            (one,) = await self.tokens.receive(1)
            self.given.append(one)
            await ClockCycles(self.dut.clk, self.generator.choice([1, 1, 8]))
            features = features_of(one["token"])
            for j, value in enumerate(features):
                harness.drive(
                    self.dut,
                    "feature",
                    feature_layout(),
                    {
                        "row": one["row"],
                        "feature": j,
                        "value": value,
                        "last": int(j == FEATURES - 1),
                    },
                )
                await pulse(self.dut, "feature_valid")
                await ClockCycles(
                    self.dut.clk, self.generator.choice([0, 0, 0, 2])
                ) if self.generator.random() < 0.3 else None
            self.token_done.send([{"row": one["row"], "status": status_of(one["token"])}])
            await self.token_done.wait()

    async def _write(self):
        while True:
            (word,) = await self.written.receive(1)
            self.memory[word["address"]] = word["values"]

    async def run(self):
        """The whole queue: rows are free again some time after their sentence has been staged."""
        dut = self.dut
        self.tapped.clear()
        for found in (self.given, self.fetched):
            found.clear()
        await pulse(dut, "start")
        for one in self.queue:
            await self.sentence(one)
        self.compare_logs()
        await ClockCycles(dut.clk, 20)
        assert (
            self.sentences.empty()
            and self.staged.empty()
            and self.rows.empty()
            and dut.resting.value == 1
        )
        harness.assert_same(
            "shifts",
            harness.read_port(dut, "shifts", self.block.shifts.shape()),
            {"word": 3, "position": -2, "segment": 1},
        )

    async def sentence(self, one):
        """One sentence of the queue: what is told of it, and its rows, which become free again."""
        blocks = self.config.row_words
        tokens, count = one["tokens"], len(one["tokens"])
        bad = (
            Error.SENTENCE_EMPTY
            if count == 0
            else Error.SENTENCE_LENGTH
            if count > POSITIONS
            else 0
        )
        (sentence,) = await self.sentences.receive(1)
        harness.assert_same(
            "sentence",
            sentence,
            {
                "tag": one["tag"],
                "deadline": one["deadline"],
                "count": count,
                "rows": 0 if bad else count,
            },
        )
        (staged,) = await self.staged.receive(1)
        failed = [(status_of(token), i) for i, token in enumerate(tokens) if status_of(token)]
        status, detail = (bad, 0) if bad else (failed or [(0, 0)])[0]
        harness.assert_same("staged", staged, {"status": status, "detail": detail})
        rows = [] if bad else await self.rows.receive(count)
        for row, token in zip(rows, tokens, strict=False):
            values = [
                value
                for block in range(ceil_div(FEATURES, self.config.tokens))
                for value in self.memory.get(row * blocks + block, [])
            ]
            if not status_of(token):
                harness.assert_same(f"row {row}", values[:FEATURES], features_of(token))
        assert all(
            address // blocks < self.config.physical_rows
            and address % blocks < ceil_div(FEATURES, self.config.tokens)
            for address in self.memory
        )
        self.generator.shuffle(rows)
        self.free.send(rows)

    def compare_logs(self):
        """Over the whole queue: tokens asked for, the tap, reads of descriptors and tokens."""
        good = [
            (number, one)
            for number, one in enumerate(self.queue)
            if 0 < len(one["tokens"]) <= POSITIONS
        ]
        harness.assert_same(
            "tokens",
            [(one["token"], one["position"]) for one in self.given],
            [(token, i) for _, one in good for i, token in enumerate(one["tokens"])],
        )
        harness.assert_same(
            "tap",
            [tuple(one.values()) for one in self.tapped],
            [
                (number, i, j, value)
                for number, one in good
                for i, token in enumerate(one["tokens"])
                for j, value in enumerate(features_of(token))
            ],
        )
        harness.assert_same(
            "reads",
            self.fetched,
            [
                read
                for number, one in enumerate(self.queue)
                for read in ((QUEUE + 16 * number, 4), (one["address"], len(one["tokens"])))[
                    : 2 if (number, one) in good else 1
                ]
            ],
        )


async def begin(dut, pause):
    test = Bench(dut, pause)
    await harness.start(dut, 12_000)
    test.free.send(range(test.config.physical_rows))
    return test


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def staging(dut, pause):
    """Random lengths, among them the longest; rows run out."""
    test = await begin(dut, pause)
    test.load(
        [
            test.generator.choice([1, 2, POSITIONS, test.generator.randint(1, POSITIONS)])
            for _ in range(9)
        ]
    )
    await test.run()


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def failing(dut, pause):
    """Bad tokens first, last, twice, everywhere; lengths that cannot be.

    The sentences around them are untouched.
    """
    test = await begin(dut, pause)
    bad = [
        (0, 0, UNKNOWN),
        (3, 2, BROKEN),
        (3, 4, UNKNOWN),
        (5, 3, UNKNOWN | 1 << 31),
        *((7, i, LATE) for i in range(3)),
    ]
    test.load([2, 0, POSITIONS, 5, POSITIONS + 1, 4, 0, 3, 100, 2, 0], bad)
    await test.run()


@cocotb.test()
async def waiting(dut):
    """While nobody admits, it goes on until its queues are full, and then asks for nothing.

    It reads nothing before a start.
    """
    test = await begin(dut, "none")
    test.load([1] * (2 * test.config.slots + 3))
    test.sentences._pause = test.staged._pause = iter(lambda: True, False)  # never ready
    await ClockCycles(dut.clk, 50)
    assert not test.fetched
    await pulse(dut, "start")
    await ClockCycles(dut.clk, 1000)
    assert len(test.fetched) == 2 * test.config.slots + 1, (
        "one more descriptor than sentences that the queue holds"
    )
    seen = []
    for _ in range(200):
        await RisingEdge(dut.clk)
        seen.append(int(dut.o_read__valid.value))
    assert not any(seen)


CONFIGS = {
    "2": harness.small(positions=9),
    "3": harness.small(tokens=3, slots=5, rows=18, positions=9),
    "1": harness.small(slots=1),
    "wide": harness.small(tokens=2, hidden=2, heads=1, rows=40, positions=34),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_staging(name):
    harness.run_bench(
        Staging(CONFIGS[name]),
        "sim.bench.queue.test_staging",
        f"staging_{name}",
        config=CONFIGS[name],
    )
