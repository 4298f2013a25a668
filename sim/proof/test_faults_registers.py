# SPDX-License-Identifier: Apache-2.0
"""Registers, windows and commands of the whole machine that are wrong, or come at a wrong time.

Error code, registers, soft reset, good sentences again.
"""

import struct

import numpy as np
import pytest

from firmware.error_codes import Error
from firmware.isa import Opcode
from sim.cosim import session as host
from sim.cosim.cosim import DECERR, IRQ, LIMIT
from sim.cosim.session import BUSY, CAUSES, DONE, LOADED, PAGE, START
from sim.proof.system import (
    find,
    flipped,
    free_offsets,
    sentence,
)

# Registers ----------------------------------------------------------------------------------------


REWRITTEN = dict.fromkeys(("QUEUE_COUNT", "SLOT_LIMIT", "EXIT_THRESHOLD"), 0) | {
    f"{name}_{part}": 64
    for name in ("IMAGE", "EMBEDDING", "INPUT", "RESULT")
    for part in ("BASE", "SIZE")
}


@pytest.mark.parametrize("cycle", [40, 900, 2500])
def test_registers_rewritten_in_a_run(machine, cycle):
    """A run has what they were at its START, and the images what they were at their LOAD."""
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    for name in ("IMAGE", "EMBEDDING"):
        session.write(f"{name}_BASE", 0x8000)
    session.write("CONTROL", START)
    machine.sim.run(IRQ, cycle)
    for name, value in REWRITTEN.items():
        session.write(name, value)
    machine.sim.run(IRQ)
    session.write("IRQ_CAUSE", CAUSES)
    assert session.read("STATUS") & 1 == 0 and session.read("SENTENCES_DONE") == 2
    for record, words in zip(session.results(2), machine.sentences, strict=True):
        golden = machine.golden(words)
        assert (record.status, record.exit_layer) == (0, golden.exit_layer)
    machine.restore()
    machine.exact(machine.sentences)


def test_threshold_of_the_host(machine):
    """What the host writes behind LOAD counts until the next LOAD, which brings the image's."""
    session = machine.session
    session.load()
    from_image = session.read("EXIT_THRESHOLD")
    layers = {}
    for threshold in (from_image, 0, (1 << 18) - 1):
        session.write("EXIT_THRESHOLD", threshold)
        session.queue(machine.sentences)
        session.run()
        assert session.read("EXIT_THRESHOLD") == threshold
        layers[threshold] = [record.exit_layer for record in session.results(2)]
    goldens = [machine.golden(words).exit_layer for words in machine.sentences]
    last = machine.network.model.layers
    assert [*layers.values()] == [goldens, [last, last], [1, 1]]
    session.load()
    assert session.read("EXIT_THRESHOLD") == from_image != 0


def test_done_until_the_next_start(machine):
    session = machine.session
    session.load()
    assert session.read("STATUS") == LOADED
    for _ in range(2):
        session.queue(machine.sentences)
        session.write("CONTROL", START)
        assert machine.sim.run(IRQ, 500) == LIMIT
        assert session.read("STATUS") == LOADED | BUSY
        machine.sim.run(IRQ)
        session.write("IRQ_CAUSE", CAUSES)
        assert session.read("STATUS") == LOADED | DONE


# Windows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["before", "behind", "top", "image"])
def test_queue_outside(machine, address):
    session = machine.session
    addresses = {
        "before": session.input_base - 32,
        "behind": session.result_base,
        "top": 0xFFFFFFE0,
        "image": PAGE,
    }
    session.write("QUEUE_BASE", addresses[address])
    machine.refuses(machine.start, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("address", ["before", "behind", "top", "over the end"])
def test_tokens_outside(machine, address):
    session = machine.session
    addresses = {
        "before": 0,
        "behind": session.result_base,
        "top": 0xFFFFFFE0,
        "over the end": session.result_base - 32,
    }
    session.load()
    session.queue([sentence(*range(12))])
    session.sim.memory[session.input_base : session.input_base + 4] = np.frombuffer(
        struct.pack("<I", addresses[address]), np.uint8
    )
    machine.refuses(session.run, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("records", [0, 1])
def test_results_outside(machine, records):
    """The window ends before the last word of the record after `records` whole ones."""
    session = machine.session
    size = (records + 1) * session.record_bytes - 4
    session.sim.writable((session.result_base, session.result_base + size))
    session.write("RESULT_SIZE", size)
    with pytest.raises(host.SessionError):
        machine.start()
    machine.stopped(Error.WINDOW)
    assert session.read("SENTENCES_DONE") == records
    assert (
        session.sim.memory[session.result_base + records * session.record_bytes :] != 0xEE
    ).sum() == host.PAGE  # behind the window: 0
    session.sim.writable((session.result_base, session.result_base + session.result_size))
    machine.recovers()


def test_start_without_load(machine):
    machine.session.queue(machine.sentences)
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_start_after_a_refused_image(machine):
    machine.image(flipped(machine.program.image, 8 * 200))
    with pytest.raises(host.SessionError):
        machine.session.load()
    machine.session.reset()
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_empty_queue(machine):
    machine.session.load()
    machine.session.queue([])
    machine.session.run()
    assert machine.session.read("STATUS") == 0b1010  # loaded, done


@pytest.mark.parametrize("offset", free_offsets()[:3])
def test_unknown_register(machine, offset):
    assert machine.sim.read_response(offset)[1] == DECERR
    assert machine.sim.write(offset, 1) == DECERR
    machine.exact(machine.sentences)
