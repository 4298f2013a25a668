# SPDX-License-Identifier: Apache-2.0
"""hw/admission.py against a plain model of ADMIT: memory, row table and embedder are Python; every event in its order."""
import random

import cocotb
import pytest
from amaranth import unsigned
from cocotb.triggers import ClockCycles, RisingEdge

from firmware.registers import Error
from hw.admission import Admission
from hw.embedding import feature_layout
from hw.rows import Command, command_layout
from sim import bench
from sim.engine import instruction, pulse, pulses, quiet

QUEUE, TOKENS, FEATURES, POSITIONS = 0x800, 0x2000, 3, 9
UNKNOWN, BROKEN = 900, 901     # tokens that the embedder refuses


def status_of(token):
    return {UNKNOWN: Error.SENTENCE_TOKEN, BROKEN: Error.SENTENCE_CHECK}.get(token & 0x3FF, Error.NONE)


def value(token, feature):
    return (token * 7 + feature) % 65536 - 32768


class Model:
    """The slots (rows of each, None: free), the queue, and what ADMIT does with them."""

    def __init__(self, config, limit):
        self.rows, self.limit, self.slots, self.queue, self.next = config.rows, limit, [None] * config.slots, [], 0

    @property
    def total(self):
        return sum(count or 0 for count in self.slots)

    def admit(self):
        """(commands, tokens, features, begins, finishes, requests) of one ADMIT; requests less the descriptors'."""
        commands, tokens, features, begins, finishes, reads = [(Command.SETTLE,)], [], [], [], [], []
        while self.next < len(self.queue) and sum(count is not None for count in self.slots) < self.limit:
            words, slot, start = self.queue[self.next], self.slots.index(None), self.total
            deadline, tag, count = words["deadline"], words["tag"], len(words["tokens"])
            status, detail = (Error.SENTENCE_EMPTY if count == 0 else Error.SENTENCE_LENGTH if count > POSITIONS else 0), 0
            if not status and count > self.rows - start:
                break
            begins.append({"slot": slot, "sentence": self.next, "tag": tag, "deadline": deadline, "count": count})
            if not status:
                commands.append((Command.ADMIT, slot, self.next))
                reads.append({"address": words["address"], "words": count})
                for i, token in enumerate(words["tokens"]):
                    commands.append((Command.ALLOCATE, slot, i))
                    tokens.append({"token": token, "position": i, "row": start + i})
                    if status_of(token):
                        status, detail = (status, detail) if status else (status_of(token), i)
                    else:
                        features += [(start + i, j, value(token, j)) for j in range(FEATURES)]
                if status:
                    commands.append((Command.COMPACT, 1 << slot))
                else:
                    self.slots[slot] = count
            if status:
                finishes.append({"slot": slot, "status": status, "detail": detail})
            self.next += 1
        return commands, tokens, features, begins, finishes, reads


class Bench:
    def __init__(self, dut, pause):
        self.dut, self.config, self.generator = dut, bench.config(), random.Random(14)
        config, self.block = self.config, Admission(self.config)
        self.pause = bench.pauses(pause, 9)[1]
        quiet(dut, self.block)
        sink = {name: bench.Sink(dut, name, getattr(self.block, name).payload.shape(), bench.pauses(pause, i)[1])
                for i, name in enumerate(("o_read", "o_token", "o_begin", "o_finish"))}
        self.reads, self.tokens, self.begins, self.finishes = sink.values()
        self.words = bench.Source(dut, "words", unsigned(32), bench.pauses(pause, 21)[0])
        self.token_done = bench.Source(dut, "token_done", self.block.token_done.payload.shape(), bench.pauses(pause, 23)[0])
        self.done, self.empties = pulses(dut, "done"), pulses(dut, "empty")
        self.embed, self.tapped = (pulses(dut, f"{name}_valid", name, getattr(self.block, name).shape()) for name in ("embed", "embedded"))
        self.commands, self.asked, self.seen = [], [], []
        self.slots, self.free = [{"count": 0, "resident": 0} for _ in range(config.slots)], config.rows
        self.rows = config.rows
        self._show()
        for name, number in (("queue", QUEUE), ("positions", POSITIONS), ("instruction", instruction(reduction=FEATURES))):
            getattr(dut, name).value = number
        for task in (self._memory(), self._embedder(), self._rows()):
            cocotb.start_soon(task)

    def _show(self):
        self.dut.free.value, self.dut.total.value = self.free, self.rows - self.free
        bench.drive(self.dut, "slots", self.block.slots.shape(), self.slots)

    def load(self, lengths, bad=()):
        """A queue of sentences; `bad` are (sentence, place, token)."""
        self.queue = []
        for number, length in enumerate(lengths):
            tokens = [self.generator.randrange(900) | self.generator.getrandbits(1) << 31 for _ in range(length)]
            for _, place, token in (one for one in bad if one[0] == number):
                tokens[place] = token
            self.queue.append({"address": TOKENS + 0x100 * number, "deadline": self.generator.getrandbits(32),
                               "tag": self.generator.getrandbits(32), "tokens": tokens})
        self.dut.count.value = len(lengths)
        return self.queue

    async def _memory(self):
        while True:
            request, = await self.reads.receive(1)
            number = (request["address"] - QUEUE) // 16
            if request["address"] < TOKENS:
                assert request == {"address": QUEUE + 16 * number, "words": 4} and number < len(self.queue), request
                one = self.queue[number]
                self.seen.append(number)
                self.words.send([one["address"], len(one["tokens"]), one["deadline"], one["tag"]])
            else:
                self.asked.append(request)
                self.words.send(self.queue[(request["address"] - TOKENS) // 0x100]["tokens"])
            await self.words.wait()

    async def _embedder(self):
        self.embedded = []
        while True:
            one, = await self.tokens.receive(1)
            self.embedded.append(one)
            await ClockCycles(self.dut.clk, self.generator.choice([1, 1, 8]))
            if not (status := status_of(one["token"])):
                for j in range(FEATURES):
                    bench.drive(self.dut, "feature", feature_layout(), {"row": one["row"], "feature": j, "value": value(one["token"], j),
                                                                        "last": int(j == FEATURES - 1)})
                    await pulse(self.dut, "feature_valid")
            self.token_done.send([{"row": one["row"], "status": status}])
            await self.token_done.wait()

    async def _rows(self):
        """The row table: a command takes effect, and is done, some cycles after it was taken."""
        dut, layout = self.dut, command_layout(self.config)
        while True:
            ready = int(self.pause is None or not next(self.pause))
            dut.o_rows__ready.value = ready
            await RisingEdge(dut.clk)
            if dut.rst.value == 1 or not ready or dut.o_rows__valid.value == 0:
                continue
            bits = dut.o_rows__payload.value  # those of fields that no command names are undefined
            value = {name: bits[layout[name].offset + layout[name].width - 1:layout[name].offset].to_unsigned()
                     for name in ("command", "slot", "sentence", "position", "release")}
            dut.o_rows__ready.value, command = 0, Command(value["command"])
            self.commands.append((command, *(value[name] for name in {
                Command.ADMIT: ("slot", "sentence"), Command.ALLOCATE: ("slot", "position"), Command.COMPACT: ("release",)}.get(command, ()))))
            if command == Command.COMPACT:
                self.release(value["release"])
            elif command == Command.ADMIT:
                self.slots[value["slot"]] = {"count": 0, "resident": 1}
            elif command == Command.ALLOCATE:
                self.free -= 1
                self.slots[value["slot"]]["count"] += 1
            await ClockCycles(dut.clk, self.generator.choice([1, 4]) - 1 or 1)
            self._show()
            await pulse(dut, "rows_done")

    def release(self, mask):
        for i, slot in enumerate(self.slots):
            if mask >> i & 1:
                self.free += slot["count"]
                self.slots[i] = {"count": 0, "resident": 0}

    async def admit(self, model):
        """One ADMIT; compares everything."""
        dut, t = self.dut, self.config.tokens
        for found in (self.done, self.empties, self.embed, self.tapped, self.commands, self.asked, self.embedded):
            found.clear()
        self._show()
        commands, tokens, features, begins, finishes, reads = model.admit()
        dut.slot_limit.value = model.limit
        await pulse(dut, "start")
        while not self.done:
            await RisingEdge(dut.clk)
        await ClockCycles(dut.clk, 12)
        bench.assert_same("commands", self.commands, commands)
        bench.assert_same("tokens", self.embedded, tokens)
        bench.assert_same("reads", self.asked, reads)
        bench.assert_same("begins", await self.begins.receive(len(begins)), begins)
        bench.assert_same("finishes", await self.finishes.receive(len(finishes)), finishes)
        bench.assert_same("embedded", [tuple(one.values()) for one in self.tapped], features)
        bench.assert_same("embed", [tuple(one.values()) for one in self.embed], [(row // t * FEATURES + j, row % t, x) for row, j, x in features])
        bench.assert_same("slots", [slot["count"] if slot["resident"] else None for slot in self.slots], model.slots)
        bench.assert_same("empty", len(self.empties), int(model.slots == [None] * self.config.slots))
        assert self.begins.empty() and self.finishes.empty() and self.reads.empty() and len(self.done) == 1

    async def drain(self, model):
        """ADMIT and the leaving of sentences in turn, until all have been there; each descriptor is read once."""
        while model.next < len(model.queue) or model.total:
            await self.admit(model)
            leave = [i for i, count in enumerate(model.slots) if count and self.generator.random() < 0.6]
            for i in leave:
                model.slots[i] = None
                self.release(1 << i)
        await self.admit(model)
        bench.assert_same("descriptors", self.seen, list(range(len(model.queue))))


async def restart(test, model, lengths, bad=()):
    """A new queue, from its first sentence."""
    model.queue, model.next = test.load(lengths, bad), 0
    test.seen.clear()
    await pulse(test.dut, "restart")


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def admission(dut, pause):
    """Random lengths, among them the longest; slots and rows run out in turn; then one slot only; then an empty queue."""
    test = Bench(dut, pause)
    await bench.start(dut, 8_000)
    for limit in {test.config.slots, 1}:
        model = Model(test.config, limit)
        await restart(test, model, [test.generator.choice([1, 2, POSITIONS, test.generator.randint(1, POSITIONS)]) for _ in range(9)])
        await test.drain(model)
    await restart(test, model, [])
    await test.drain(model)


@cocotb.test()
@cocotb.parametrize(pause=bench.PAUSES)
async def failing(dut, pause):
    """Bad tokens first, last, twice, everywhere; lengths that cannot be; the sentences around them are untouched."""
    test = Bench(dut, pause)
    await bench.start(dut, 8_000)
    bad = [(0, 0, UNKNOWN), (3, 2, BROKEN), (3, 4, UNKNOWN), (5, 3, UNKNOWN | 1 << 31), *((7, i, BROKEN) for i in range(3))]
    model = Model(test.config, test.config.slots)
    await restart(test, model, [2, 0, POSITIONS, 5, POSITIONS + 1, 4, 0, 3, 100, 2, 0], bad)
    await test.drain(model)


@cocotb.test()
async def restarted(dut):
    """A sentence that waits for rows is not in the way of a new queue."""
    test = Bench(dut, "none")
    await bench.start(dut, 8_000)
    model = Model(test.config, test.config.slots)
    await restart(test, model, [POSITIONS] * 2)
    test.rows = test.free = model.rows = POSITIONS + 1
    await test.admit(model)
    if test.config.slots > 1:
        assert test.seen == [0, 1] and model.next == 1, "the second sentence waits"
    test.release(1)
    model.slots[0] = None
    await restart(test, model, [1, 2, 3])
    await test.drain(model)


CONFIGS = {"2": bench.small(positions=9), "3": bench.small(tokens=3, slots=5, rows=18, positions=9), "1": bench.small(slots=1)}


@pytest.mark.parametrize("name", CONFIGS)
def test_admission(name):
    bench.run(Admission(CONFIGS[name]), "sim.test_admission", f"admission_{name}", config=CONFIGS[name])
