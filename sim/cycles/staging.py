# SPDX-License-Identifier: Apache-2.0
"""Cycles of the stager (part of sim/cycles/model.py), a second clock beside the operations.

It meets them at the memory port, at the rows and at ADMIT. All times are cycles.
"""

from firmware.record import DESCRIPTOR
from hw import stream
from hw.queue import staging
from sim.cycles.embedding import EmbedderTimes
from sim.cycles.memory import WORD_BYTES

__all__ = ["DESCRIPTOR_BYTES", "Stager"]

DESCRIPTOR_BYTES = DESCRIPTOR.words() * WORD_BYTES


class Stager:
    """hw/queue/staging.py with a queue of `work.Sentence`s.

    Goes on as far as is known (`until`), or as ADMIT needs it (`describe`, `stage`).

    port, embedding : `RunReader`s of both memories
    idle : until when weights keep it from the memory port
    known, staged : by sentence, when ADMIT can see it, and can have its rows
    begun, freed : when ADMIT took sentences, and rows came back; the model adds to both
    """

    def __init__(self, config, rows, port, embedding, sentences):
        self.idle = 0
        self.known = []
        self.staged = []
        self.begun = []
        self.freed = []
        self._config = config
        self._rows = rows
        self._port = port
        self._embedding = embedding
        self._sentences = sentences
        self._given = 0  # rows
        self._steps = None  # see `_run`
        self._ready = lambda: None  # when the next step begins, None while that is not known

    def start(self, at):
        """The first ADMIT starts at `at`."""
        if self._steps is None:
            self._steps = self._run(at + 1)
            self._ready = lambda: at

    def until(self, at):
        """What begins before `at`: the memory port is the stager's until then."""
        while (ready := self._ready()) is not None and ready < at:
            self._ready = next(self._steps, lambda: None)

    def describe(self, number):
        """When ADMIT can see sentence `number`; what it needs is known."""
        return self._go_on(self.known, number)

    def stage(self, number):
        """When ADMIT can have its rows."""
        return self._go_on(self.staged, number)

    def _go_on(self, times, number):
        while len(times) <= number:
            assert self._ready() is not None, "a sentence waits for rows that nobody frees"
            self._ready = next(self._steps, lambda: None)
        return times[number]

    def _run(self, now):
        """The steps; `now`: when it is in its state NEXT.

        Yields before each wait, a function that tells when the step behind it begins, or None
        while that is not known: reads, a full queue, missing rows.
        """
        for number, sentence in enumerate(self._sentences):
            yield self._read(now + staging.READ)
            now = self._descriptor(number, now + staging.READ)
            before = number - self._config.slots  # it must have begun for its place in the queue
            if before >= 0:
                yield self._later(self.begun, before)
                now = max(now, self.begun[before] + 1)
            self.known.append(now + stream.cycles(self._config.slots))
            asks = now + staging.TOKENS + staging.READ
            yield self._read(asks)
            now = yield from self._tokens(sentence, asks)
            self.staged.append(now)

    def _descriptor(self, number, at):
        """Reads a descriptor; when it is checked."""
        offset = DESCRIPTOR_BYTES * number
        _, beats = self._port.request(self._granted(at), offset, DESCRIPTOR_BYTES)
        words = self._port.words(beats)
        # A wider bus word may hold others behind it.
        skipped = offset % self._port.memory.width // WORD_BYTES
        return words[skipped + DESCRIPTOR.words() - 1] + staging.CHECK

    def _tokens(self, sentence, at):
        """Reads and embeds a sentence's tokens; when ADMIT sees that it is staged."""
        config = self._config
        count = len(sentence.ids)
        _, beats = self._port.request(self._granted(at), 0, WORD_BYTES * count)
        words = self._port.words(beats)
        embedder = EmbedderTimes(self._rows, self._embedding)
        now = 0
        for index in range(count):
            free = 0
            missing = self._given - config.physical_rows  # the row that must have come back
            if missing >= 0:
                yield self._later(self.freed, missing)
                free = self.freed[missing] + stream.cycles(config.physical_rows)
            there = words[index] + stream.cycles(config.positions)
            token, segment = int(sentence.ids[index]), int(sentence.segments[index])
            rows = self._rows.numbers(token, index, segment)
            now = embedder.accept(max(now + 1, there, free), rows)
            self._given += 1
        return embedder.finish() + staging.STAGED

    def _granted(self, at):
        """When a run that could be asked for at `at` is: after the one before and the weights."""
        return max(at, self._port.taken + 2, self.idle + 2)

    def _read(self, at):
        return lambda: self._granted(at)

    @staticmethod
    def _later(times, number):
        return lambda: times[number] if number < len(times) else None
