# SPDX-License-Identifier: Apache-2.0
"""A host for the co-simulation: images and sentences into memory, registers, results.

Windows in the memory behind `m_axi`, each at a multiple of 4096: image, input (queue, then
tokens), results.
"""

import numpy as np

from firmware.driver import by_deadline
from firmware.error_codes import Error
from firmware.record import DESCRIPTOR, RECORD, Record, descriptor_bytes, token_bytes
from firmware.registers import BY_NAME, COUNTERS
from sim.cosim.cosim import IRQ, LIMIT, OP, Cosim

__all__ = ["Session", "SessionError"]

PAGE = 4096
LOAD, START, RESET = 1, 2, 4  # bits of CONTROL
BUSY, LOADED, FAILED, DONE = 1, 2, 4, 8  # bits of STATUS
CAUSES = 7  # all bits of IRQ_ENABLE and IRQ_CAUSE
DESCRIPTOR_BYTES = 4 * DESCRIPTOR.words()
STUCK = 100_000  # cycles without progress after which the machine should give up
DRAINING = 100_000  # reads of STATUS that a reset may take
PATIENCE = 200_000_000  # cycles that a queue may take


class SessionError(RuntimeError):
    """The machine stopped with an error; `error` is its code, `pc` the instruction."""

    def __init__(self, error, pc):
        super().__init__(f"{error.name} ({error.text}) at instruction {pc}")
        self.error, self.pc = error, pc


def _pages(size):
    return -(-size // PAGE) * PAGE


class Session:
    """A simulated accelerator with room for `sentences` queued sentences.

    Parameters
    ----------
    library : path of the co-simulation (`sim.cosim.build.build`)
    config : HardwareConfig
    layouts : taps to record; empty for runs that only count cycles
    image, embedding : bytes of the two images
    sentences : the longest queue
    """

    def __init__(self, library, config, layouts, image, embedding, sentences):
        self.config = config
        self.patience = PATIENCE
        self.image = bytes(image)
        self.embedding = bytes(embedding)
        self.input_base = PAGE + _pages(len(self.image))
        self.token_bytes = -(-4 * config.positions // 32) * 32
        self.tokens_base = self.input_base + -(-DESCRIPTOR_BYTES * sentences // 32) * 32
        self.result_base = self.input_base + _pages(
            self.tokens_base - self.input_base + sentences * self.token_bytes
        )
        self.record_bytes = 4 * RECORD.words(config)
        self.result_size = _pages(sentences * self.record_bytes)
        self.sim = Cosim(
            library,
            layouts,
            self.result_base + self.result_size + PAGE,
            _pages(len(self.embedding)) + PAGE,
        )
        self.sim.writable((self.result_base, self.result_base + self.result_size))
        self._put(PAGE, self.image)
        self.sim.embedding[: len(self.embedding)] = np.frombuffer(self.embedding, np.uint8)
        self.configure()

    def write(self, name, value):
        return self.sim.write(BY_NAME[name].offset, value)

    def read(self, name):
        return self.sim.read(BY_NAME[name].offset)

    def counters(self):
        """{name: value} of the 64-bit counters."""
        return {name: self.read(f"{name}_LO") | self.read(f"{name}_HI") << 32 for name in COUNTERS}

    def configure(self):
        """Tell the machine where everything lies."""
        windows = {
            "IMAGE": (PAGE, len(self.image)),
            "EMBEDDING": (0, len(self.embedding)),
            "INPUT": (self.input_base, self.result_base - self.input_base),
            "RESULT": (self.result_base, self.result_size),
        }
        for name, (base, size) in windows.items():
            self.write(f"{name}_BASE", base)
            self.write(f"{name}_SIZE", size)
        self.write("QUEUE_BASE", self.input_base)
        self.write("IRQ_ENABLE", CAUSES)
        self.write("WATCHDOG", STUCK)

    def reset(self):
        """Soft reset, and wait until the buses are drained: a slow memory may take long."""
        self.write("CONTROL", RESET)
        for _ in range(DRAINING):
            if not self.read("STATUS") & 1:
                break
        else:
            raise RuntimeError(f"Reset must end in {DRAINING:,} reads of STATUS, it is still busy")
        self.write("IRQ_CAUSE", CAUSES)

    def load(self):
        """Load the images; raises SessionError when the machine refuses them."""
        self.write("CONTROL", LOAD)
        self._wait()
        self._check()

    def queue(self, sentences, slots=None, deadlines=None, deadline_first=False):
        """Write the queue: (token ids, segment ids) of each sentence.

        They come in their order, or the most urgent ones first.
        """
        count, order = len(sentences), range(len(sentences))
        if deadline_first:
            order = by_deadline(deadlines)
        for i, number in enumerate(order):
            ids, segments = sentences[number]
            at = self.tokens_base + i * self.token_bytes
            self._put(at, token_bytes(ids, segments)[: 4 * self.config.positions])
            deadline = deadlines[number] if deadlines else 0
            self._put(
                self.input_base + DESCRIPTOR_BYTES * i,
                descriptor_bytes(at, len(ids), deadline, number),
            )
        self.sim.memory[self.result_base : self.result_base + self.result_size] = 0xEE
        self.write("QUEUE_COUNT", count)
        if slots is not None:
            self.write("SLOT_LIMIT", slots)

    def run(self, operation=None):
        """Run the queue, with a call of `operation(records)` after every operation; the cycles.

        Raises SessionError.
        """
        begin = self.sim.cycle
        self.write("CONTROL", START)
        self._wait(operation)
        self._check()
        return self.sim.cycle - begin

    def results(self, count):
        """Records in the order in which the sentences were given."""
        return sorted((self.record(i) for i in range(count)), key=lambda record: record.tag)

    def _wait(self, operation=None):
        limit = self.sim.cycle + self.patience
        until = OP | IRQ if operation else IRQ
        while True:
            reason = self.sim.run(until, limit - self.sim.cycle)
            if reason & OP and operation:
                operation(self.sim.take())
            if reason & LIMIT:
                raise SessionError(Error.WATCHDOG, self.read("ERROR_PC"))
            if reason & IRQ:
                break
        self.write("IRQ_CAUSE", CAUSES)

    def _check(self):
        error = Error(self.read("ERROR"))
        if error:
            raise SessionError(error, self.read("ERROR_PC"))

    def _put(self, at, data):
        self.sim.memory[at : at + len(data)] = np.frombuffer(data, np.uint8)

    def record(self, i):
        """The record of descriptor `i`."""
        start = self.result_base + i * self.record_bytes
        return Record.parse(self.config, self.sim.memory[start : start + self.record_bytes])
