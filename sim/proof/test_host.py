# SPDX-License-Identifier: Apache-2.0
"""The Python driver on the co-simulated machine."""

import pytest

from firmware.driver import DriverError, Terse, Windows
from firmware.error_codes import Error
from sim.cosim.cosim import SLVERR
from sim.cosim.link import CosimLink
from sim.cosim.session import PAGE
from sim.proof.check import differences
from sim.proof.script import answers
from sim.proof.system import flipped, sentence


@pytest.fixture
def terse(machine):
    return Terse(CosimLink(machine.sim), polls=5000)


@pytest.fixture
def layout(machine, terse):
    found = Windows.packed(
        terse, len(machine.program.image), len(machine.program.embedding), 4, base=PAGE
    )
    machine.sim.writable((found.result[0], sum(found.result)))
    return found


def works(machine, terse, layout):
    """The script of every host, and that what it got is golden."""
    records = answers(terse, layout, machine.sentences)
    for i, (one, record) in enumerate(zip(machine.sentences, records, strict=True)):
        assert differences(i, machine.golden(one), record, machine.program.early_exit) == []


def test_sentences(machine, terse, layout):
    works(machine, terse, layout)
    assert terse.irq_state() == set() and terse.counters()["PASSES"] > 0
    assert machine.sim.port("irq") == 0
    machine.session.configure()  # the windows of the machine's own checks


def test_errors(machine, terse, layout):
    """A bad image, a bus fault, a bad sentence: what is told, and that the next run is right."""
    machine.image(flipped(machine.program.image, 8 * 200))
    with pytest.raises(DriverError) as caught:
        terse.load(layout)
    assert caught.value.error == Error.IMAGE_CRC
    machine.image(machine.program.image)
    terse.reset()
    terse.load(layout)
    at = layout.result[0]
    machine.sim.fault(at, at + 4, SLVERR, write=True)
    with pytest.raises(DriverError) as caught:
        terse.classify(machine.sentences)
    assert caught.value.error == Error.WRITE_ERROR
    machine.sim.clear_faults()
    terse.reset()
    terse.load(layout)
    (record,) = terse.classify([sentence(1, 1 << 20)])
    assert (record.status, record.detail) == (Error.SENTENCE_TOKEN, 1)
    works(machine, terse, layout)
