# SPDX-License-Identifier: Apache-2.0
"""Buses that answer with an error or not at all.

Error code, registers, soft reset, good sentences again.
"""

import pytest

from firmware import isa
from firmware.embedding_image import parse_embedding
from firmware.error_codes import Error
from firmware.image import HEADER_BYTES, parse_image
from firmware.isa import Opcode
from sim.cosim import session as host
from sim.cosim.cosim import DECERR, EMBEDDING, IRQ, LIMIT, MAIN, SLVERR
from sim.cosim.session import CAUSES, LOAD, PAGE, RESET, START
from sim.proof.system import WATCHDOG, find

RESPONSES = {SLVERR: Error.READ_SLVERR, DECERR: Error.READ_DECERR}


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["header", "weights", "constants"])
def test_read_fault_of_a_load(machine, place, response):
    image = parse_image(machine.program.image)
    at = (
        PAGE
        + {"header": 0, "weights": len(image.data) - 200, "constants": image.constants_offset}[
            place
        ]
    )
    machine.sim.fault(at, at + 4, response)
    machine.refuses(machine.session.load, RESPONSES[response])


@pytest.mark.parametrize("response", RESPONSES)
def test_read_fault_of_constants_read_again(machine, response):
    """The whole image has been read and is right; then its constants are taken."""
    read = machine.sim.bytes_moved() + len(machine.program.image)
    machine.session.write("CONTROL", LOAD)
    while machine.sim.bytes_moved() < read:
        machine.sim.run(IRQ, 1)
    at = PAGE + parse_image(machine.program.image).constants_offset
    machine.sim.fault(at, at + 4, response)
    assert machine.sim.run(IRQ, 100 * WATCHDOG) == IRQ
    machine.session.write("IRQ_CAUSE", CAUSES)
    machine.stopped(RESPONSES[response])
    machine.recovers()


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["instruction", "weights", "queue", "tokens"])
def test_read_fault_of_a_run(machine, place, response):
    session, image = machine.session, parse_image(machine.program.image)
    pc = find(image.data, Opcode.LINEAR)
    at = {
        "instruction": PAGE + image.program_offset + pc * isa.BYTES,
        "weights": PAGE + isa.unpack(image.program[pc], "address") + 64,
        "queue": session.input_base,
        "tokens": session.tokens_base,
    }[place]
    session.load()
    session.queue(machine.sentences)
    machine.sim.fault(at, at + 4, response)
    where = {"instruction": 0, "weights": pc}.get(place, find(image.data, Opcode.ADMIT))
    machine.refuses(session.run, RESPONSES[response], where)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("offset", [0, -4])
def test_write_fault(machine, offset, response):
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    at = session.result_base + offset % session.record_bytes
    machine.sim.fault(at, at + 4, response, write=True)
    machine.refuses(session.run, Error.WRITE_ERROR)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["header", "row table", "row"])
def test_embedding_fault(machine, place, response):
    embedding = parse_embedding(machine.program.embedding)
    row = int(machine.sentences[0][0][1])
    at = {"header": 8, "row table": HEADER_BYTES + 4 * row, "row": embedding.offsets[row]}[place]
    machine.sim.fault(at, at + 1, response, port=EMBEDDING)
    machine.refuses(machine.start, Error.EMBEDDING_BUS)


# Silence ------------------------------------------------------------------------------------------


def silent(machine, port, action):
    """`action` until WATCHDOG, with a memory that does not answer.

    The machine stays busy until that has drained.
    """
    machine.sim.behave(port, stall=1.0)
    before = machine.sim.cycle
    with pytest.raises(host.SessionError):
        action()
    assert machine.sim.cycle - before < 2 * WATCHDOG + len(machine.program.image)
    machine.stopped(Error.WATCHDOG)
    machine.session.write("CONTROL", RESET)
    machine.sim.run(IRQ, 1000)
    assert machine.session.read("STATUS") == 1  # requests are on their way: busy
    machine.sim.behave(port)
    machine.recovers()


@pytest.mark.parametrize("port", [MAIN, EMBEDDING])
def test_silent_memory_in_a_load(machine, port):
    silent(machine, port, machine.session.load)


@pytest.mark.parametrize("port", [MAIN, EMBEDDING])
def test_silent_memory_in_a_run(machine, port):
    machine.session.load()
    machine.session.queue(machine.sentences)
    silent(machine, port, machine.session.run)


@pytest.mark.parametrize("cycle", range(1500, 12000, 1500))
def test_memory_falls_silent(machine, cycle):
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    session.write("CONTROL", START)
    assert machine.sim.run(IRQ, cycle) in (LIMIT, IRQ)
    if session.read("STATUS") & 1:
        machine.sim.behave(MAIN, stall=1.0)
        assert machine.sim.run(IRQ, 20 * WATCHDOG) == IRQ
        machine.stopped(Error.WATCHDOG)
    machine.sim.behave(MAIN)
    machine.recovers()


@pytest.mark.parametrize("command", ["load", "run"])
def test_soft_reset_at_any_time(machine, command):
    session = machine.session
    for cycle in (1, 7, 30, 101, 350, 800, 1700, 3300, 5001, 7003):
        for port in (MAIN, EMBEDDING):
            machine.sim.behave(port, latency=20, stall=0.3, seed=cycle)
        if command == "run":
            session.load()
        session.queue(machine.sentences)
        session.write("CONTROL", START if command == "run" else 1)
        machine.sim.run(IRQ, cycle)
        session.reset()
        assert (session.read("STATUS"), session.read("ERROR")) == (0, 0)
    machine.recovers()
