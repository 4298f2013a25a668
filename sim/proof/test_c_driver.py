# SPDX-License-Identifier: Apache-2.0
"""The C driver on the co-simulated machine: every way that a call of it can end."""

import re

import pytest

from firmware.error_codes import Error
from firmware.record import Record
from firmware.registers import BY_NAME
from golden_model.random_model import random_sentences
from sim.cosim.build import ROOT
from sim.cosim.c_driver import RESULTS, CDriver, MemoryStruct
from sim.cosim.cosim import EMBEDDING, IRQ, MAIN, SLVERR
from sim.cosim.session import PAGE
from sim.proof.check import differences
from sim.proof.system import CONFIG, SMALL_MODEL, WATCHDOG, flipped, sentence

POLLS = 5000  # reads of STATUS: more than anything here takes


class Host:
    """What a C program does with the driver, and where its memory is."""

    def __init__(self, machine, folder):
        self.machine, self.session = machine, machine.session
        self.driver = CDriver(machine.sim, folder)
        assert self.driver.init() == "OK"
        session = self.session
        self.memory = MemoryStruct(
            (PAGE, len(session.image)),
            (0, len(session.embedding)),
            (session.input_base, session.result_base - session.input_base),
            (session.result_base, session.result_size),
        )

    def load(self, polls=POLLS):
        return self.driver.load(self.memory, polls)

    def describe(self, sentences):
        """Queue and tokens into memory, by the driver's own words."""
        self.session.queue(sentences)
        queue = self.machine.sim.memory[self.session.input_base :]
        for i, (ids, _) in enumerate(sentences):
            words = queue[16 * i : 16 * (i + 1)].view("uint32").ctypes.data
            at = self.session.tokens_base + i * self.session.token_bytes
            assert self.driver.describe(words, at, len(ids), 0, i) == "OK"

    def run(self, sentences, polls=POLLS):
        self.describe(sentences)
        return self.driver.run(self.session.input_base, len(sentences), polls)

    def sentence(self, i):
        """(result, sentence, Record) of result i."""
        start = self.session.result_base + i * self.session.record_bytes
        record = bytes(self.machine.sim.memory[start : start + self.session.record_bytes])
        return *self.driver.sentence(record), Record.parse(CONFIG, record)

    def works(self):
        """A load and the good sentences, right to the last word."""
        assert self.load() == "OK"
        sentences = self.machine.sentences
        assert self.run(sentences) == "OK"
        assert self.driver.word("finished") == ("OK", len(sentences))
        for i, one in enumerate(sentences):
            result, found, record = self.sentence(i)
            golden = self.machine.golden(one)
            assert differences(i, golden, record, self.machine.program.early_exit) == []
            assert (result, found.status, found.tag) == ("OK", 0, i)
            assert (found.class_index, found.exit_layer) == (
                golden.predicted_class,
                golden.exit_layer,
            )
            assert found.tokens == len(one[0]) and found.cycles == record.cycles
            assert list(found.dropped_at[: len(one[0])]) == list(golden.dropped_at_layer)

    def stopped(self, error):
        """Refuses all but a reset, after which it works."""
        driver = self.driver
        assert driver.fault()[0] == error
        assert driver.run(self.session.input_base, 1, POLLS) == "FAULT"
        assert self.load() == "FAULT"
        assert driver.reset(POLLS) == "OK" and driver.fault() == (Error.NONE, 0)
        self.machine.restore()
        self.works()
        assert driver.refused == 0


@pytest.fixture
def host(machine, tmp_path):
    return Host(machine, tmp_path)


def test_sentences(host):
    terse = host.driver.terse
    assert (terse.positions, terse.layers, terse.slots) == (
        CONFIG.positions,
        CONFIG.layers,
        CONFIG.slots,
    )
    assert host.driver.word("units") == ("OK", CONFIG.unit_bits)
    host.works()
    cycles = BY_NAME["CYCLES_LO"].offset
    assert host.driver.counter(cycles) == host.session.counters()["CYCLES"] > 0
    host.works()
    assert host.driver.refused == 0


def test_bad_image(host):
    host.machine.image(flipped(host.machine.program.image, 8 * 200))
    assert host.load() == "FAULT"
    host.stopped(Error.IMAGE_CRC)


def test_run_without_an_image(host):
    assert host.run(host.machine.sentences) == "FAULT"
    host.stopped(Error.NOT_LOADED)


@pytest.mark.parametrize("write", [False, True])
def test_bus_fault(host, write):
    assert host.load() == "OK"
    session = host.session
    at = session.result_base if write else session.tokens_base
    host.machine.sim.fault(at, at + 4, SLVERR, write)
    assert host.run(host.machine.sentences) == "FAULT"
    host.stopped(Error.WRITE_ERROR if write else Error.READ_SLVERR)


@pytest.mark.parametrize("port", [MAIN, EMBEDDING])
def test_silent_memory(host, port):
    """Nothing answers: first the driver's own limit, then the machine's, then a late drain."""
    assert host.load() == "OK"
    assert host.driver.set_watchdog(WATCHDOG) == "OK"
    host.machine.sim.behave(port, stall=1.0)
    assert host.run(host.machine.sentences, polls=10) == "TIMEOUT"
    assert host.load() == "BUSY" and host.driver.set_slot_limit(1) == "BUSY"
    assert host.driver.wait(POLLS) == "FAULT" and host.driver.fault()[0] == Error.WATCHDOG
    assert host.driver.reset(10) == "TIMEOUT"
    host.machine.sim.behave(port)
    assert host.driver.wait(POLLS) == "OK"
    host.works()


@pytest.mark.parametrize("cycles", [30, 350, 1700, 5001])
def test_reset_in_mid_run(host, cycles):
    assert host.load() == "OK"
    host.describe(host.machine.sentences)
    assert host.driver.start(host.session.input_base, 2) == "OK"
    assert host.driver.start(host.session.input_base, 2) == "BUSY"
    host.machine.sim.run(0, cycles)
    assert host.driver.reset(POLLS) == "OK"
    host.works()


def test_bad_sentence_fails_alone(host):
    assert host.load() == "OK"
    good = host.machine.sentences[0]
    assert host.run([sentence(1, SMALL_MODEL.vocabulary, 2), good]) == "OK"
    result, found, _ = host.sentence(0)
    assert (result, found.status, found.detail) == ("OK", Error.SENTENCE_TOKEN, 1)
    result, found, _ = host.sentence(1)
    golden = host.machine.golden(good)
    assert (result, found.status, found.class_index) == ("OK", 0, golden.predicted_class)


def test_interrupt(host):
    """The line rises with a cause that is enabled, and falls when it is acknowledged."""
    driver, sim, done = host.driver, host.machine.sim, 0
    assert driver.irq_disable_all(None) == "OK" and host.load() == "OK"
    assert driver.irq_acknowledge_state(7) == "OK" and sim.port("irq") == 0
    assert driver.irq_set_enabled(done, True) == "OK"
    host.describe(host.machine.sentences)
    assert driver.start(host.session.input_base, 2) == "OK"
    sim.run(IRQ, 300_000)
    assert sim.port("irq") == 1 and driver.word("irq_get_state") == ("OK", 1)
    result, snapshot = driver.word("irq_disable_all")
    assert (result, snapshot, sim.port("irq")) == ("OK", 1, 0)
    assert driver.irq_restore_all(snapshot) == "OK" and sim.port("irq") == 1
    assert driver.irq_acknowledge(done) == "OK" and sim.port("irq") == 0
    assert driver.word("irq_get_state") == ("OK", 0)


def test_settings(host):
    """One slot: the same results, each sentence alone in the machine."""
    assert host.load() == "OK" and host.driver.set_slot_limit(1) == "OK"
    sentences = random_sentences(SMALL_MODEL, 3, seed=8, low=3, high=9)
    assert host.run(sentences) == "OK"
    assert host.sentence(2)[2].cycles > 0
    assert host.driver.set_exit_threshold(1 << 18) == "ARGUMENT"
    assert host.driver.set_exit_threshold(0) == "OK" and host.run(sentences) == "OK"
    assert {host.sentence(i)[1].exit_layer for i in range(3)} == {SMALL_MODEL.layers}


def test_results_are_those_of_the_header():
    text = (ROOT / "firmware" / "driver" / "terse.h").read_text()
    body = text.partition("enum terse_result {")[2].partition("};")[0]
    assert RESULTS == tuple(re.findall(r"^ *TERSE_(\w+)", body, re.MULTILINE))
