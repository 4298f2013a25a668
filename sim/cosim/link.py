# SPDX-License-Identifier: Apache-2.0
"""The co-simulated machine as a link of the Python driver (firmware.driver)."""

import numpy as np

from sim.cosim.cosim import IRQ

__all__ = ["CosimLink"]

PAUSE = 100  # cycles between two reads of STATUS, unless the interrupt comes


class CosimLink:
    """Registers and memory behind `m_axi` of a `Cosim`."""

    def __init__(self, sim):
        self._sim = sim

    def read(self, offset):
        return self._sim.read(offset)

    def write(self, offset, value):
        self._sim.write(offset, value)

    def pause(self):
        self._sim.run(IRQ, PAUSE)

    def get(self, address, size):
        return self._sim.memory[address : address + size].tobytes()

    def put(self, address, data):
        self._sim.memory[address : address + len(data)] = np.frombuffer(data, np.uint8)
