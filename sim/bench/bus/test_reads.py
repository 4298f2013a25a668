# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""hw/bus/reads.py cycle by cycle: who is asked for, who gets the words, what is on its way."""

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hw.bus.reads import RUNS, Reads
from hw.bus.transfer import bus_word, transfer_layout
from hw.shapes import ADDRESS
from sim.bench import harness
from sim.bench.players import silence

REQUESTS = 60  # of each of the two
ASKERS = ("short", "stream")  # the first goes first
INPUTS = ("o_request", "o_short", "o_stream")  # streams that the bench takes


class Reading:
    """The two that ask, and a reader that answers; every cycle is compared with what must be.

    asked : (asker, its request) of those that were passed on
    given : (asker, word) of the words that were taken
    hold : the reader's words are kept back, in `later`
    """

    def __init__(self, dut, pause):
        self.config = harness.config()
        self.asked = []
        self.given = []
        self.hold = False
        self.later = []
        self._dut = dut
        self._generator = random.Random(pause)
        self._runs = []  # who has asked for those that are on their way
        silence(dut, Reads(self.config))
        pauses = [harness.pauses(pause, seed) for seed in (1, 3, 5)]
        self._stalls = dict(zip(INPUTS, (stall for _, stall in pauses), strict=True))
        self._sources = {
            asker: harness.Source(dut, f"i_{asker}", transfer_layout(), idle)
            for asker, (idle, _) in zip(ASKERS, pauses, strict=False)
        }
        self.words = harness.Source(dut, "words", bus_word(self.config), pauses[2][0])
        cocotb.start_soon(self._run())

    def _is(self, name):
        return getattr(self._dut, name).value == 1

    def _offers(self, name):
        return self._is(f"{name}__valid")

    def _passes(self, name):
        return self._offers(name) and self._is(f"{name}__ready")

    def _payload(self, name, layout):
        return harness.read_port(self._dut, f"{name}__payload", layout)

    def send(self, asker, count):
        """Random requests of up to five words -> them."""
        draw = self._generator.getrandbits
        requests = [
            {
                "address": draw(ADDRESS.width),
                "words": self._generator.randint(1, 5),
                "base": draw(ADDRESS.width),
                "size": draw(ADDRESS.width),
            }
            for _ in range(count)
        ]
        self._sources[asker].send(requests)
        return requests

    async def wait(self):
        """Until all requests are passed on, and all of their words."""
        for source in self._sources.values():
            await source.wait()
        while self._runs:
            await RisingEdge(self._dut.clk)

    async def _run(self):
        while True:
            await RisingEdge(self._dut.clk)
            if self._dut.rst.value == 0:
                runs = self._runs.copy()
                assert self._is("reading") == bool(runs)
                assert self._is("streaming") == (runs[:1] == ["stream"])
                self._request(len(runs) < RUNS)
                self._word(runs[0] if runs else None)
            for name, stall in self._stalls.items():
                getattr(self._dut, f"{name}__ready").value = int(not (stall and next(stall)))

    def _request(self, room):
        """The short one goes first, where there is room for a further run."""
        there = [asker for asker in ASKERS if self._offers(f"i_{asker}")]
        assert self._offers("o_request") == (bool(there) and room)
        passed = [asker for asker in there if self._passes(f"i_{asker}")]
        assert passed == (there[:1] if self._passes("o_request") else [])
        if self._offers("o_request"):
            request = self._payload(f"i_{there[0]}", transfer_layout())
            harness.assert_same("request", self._payload("o_request", transfer_layout()), request)
        for asker in passed:
            self.asked.append((asker, request))
            self._runs.append(asker)
            words = [
                {
                    "data": self._generator.getrandbits(self.config.bus_bits),
                    "last": int(n == request["words"] - 1),
                }
                for n in range(request["words"])
            ]
            (self.later.extend if self.hold else self.words.send)(words)

    def _word(self, head):
        """A word goes to whose run is the first one, and waits for nobody else."""
        there = self._offers("words")
        for asker in ASKERS:
            assert self._offers(f"o_{asker}") == (there and asker == head)
        assert not there or self._is("words__ready") == (
            head is not None and self._is(f"o_{head}__ready")
        )
        if self._passes("words"):
            word = self._payload("words", bus_word(self.config))
            harness.assert_same(head, self._payload(f"o_{head}", bus_word(self.config)), word)
            self.given.append((head, word["last"]))
            if word["last"]:
                self._runs.pop(0)


@cocotb.test()
@cocotb.parametrize(pause=harness.PAUSES)
async def reads(dut, pause):
    """All requests are passed on, each asker's in order, and their words come in that order."""
    reading = Reading(dut, pause)
    await harness.start(dut)
    sent = {asker: reading.send(asker, REQUESTS) for asker in ASKERS}
    await reading.wait()
    for asker in ASKERS:
        got = [request for by, request in reading.asked if by == asker]
        harness.assert_same(asker, got, sent[asker])
    harness.assert_same(
        "words",
        reading.given,
        [
            (asker, int(n == request["words"] - 1))
            for asker, request in reading.asked
            for n in range(request["words"])
        ],
    )


@cocotb.test()
async def runs(dut):
    """Requests go out one a cycle until `RUNS` are on their way; a word that comes early waits."""
    reading = Reading(dut, "none")
    reading.hold = True
    await harness.start(dut)
    reading.words.send([{"data": 5, "last": 0}])
    await ClockCycles(dut.clk, 4)
    assert not reading.given, "a word that nobody has asked for"
    reading.send("stream", RUNS + 3)
    reading.send("short", 2)
    await ClockCycles(dut.clk, RUNS + 1)
    harness.assert_same("on their way", len(reading.asked), RUNS)
    reading.hold = False
    reading.words.send(reading.later)
    await reading.wait()
    harness.assert_same("passed on", len(reading.asked), RUNS + 3 + 2)


@pytest.mark.parametrize("bus_bits", [32, 128])
def test_reads(bus_bits):
    config = harness.small(bus_bits=bus_bits)
    harness.run_bench(Reads(config), "sim.bench.bus.test_reads", f"reads_{bus_bits}", config=config)
