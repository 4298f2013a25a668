# SPDX-License-Identifier: Apache-2.0
"""Cycles of the stager (part of sim/cycles/model.py): a second clock beside the operations, which meets them at the memory port, rows and ADMIT."""

from sim.cycles.embedding import Embedder

__all__ = ["DESCRIPTOR", "Stager"]

DESCRIPTOR = 16  # bytes
BUFFERED = 32  # depth of a queue in block RAM, which takes a cycle more (hw/stream.py)


class Stager:
    """hw/queue/staging.py with a queue of `work.Sentence`s; goes on as far as is known (`until`), or as ADMIT needs (`describe`, `stage`).

    port, embedding : `Port`s of both memories; idle : until when weights keep it from the memory port
    known, staged : by sentence, when ADMIT can see it, and can have its rows; begun, freed : when it was admitted, and rows came back
    """

    def __init__(self, config, rows, port, embedding, sentences):
        self.config = config
        self.rows = rows
        self.port = port
        self.embedding = embedding
        self.sentences = sentences
        self.idle = 0
        self.known = []
        self.staged = []
        self.begun = []
        self.freed = []
        self._steps, self._ready = None, lambda: None

    def start(self, at):
        if self._steps is None:
            self._steps, self._ready = self._run(at + 1), lambda: at

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
        """Yields when it can go on, as a function that knows it later than now: reads, a full queue, missing rows. `now`: in its state NEXT."""
        config, given = self.config, 0
        for number, sentence in enumerate(self.sentences):
            skip = DESCRIPTOR * number
            yield self._read(now + 1)
            _, beats = self.port.request(self._granted(now + 1), skip, DESCRIPTOR)
            width = self.port.memory.width
            now = (
                self.port.words(beats)[-1 if width <= DESCRIPTOR else skip % width // 4 + 3] + 1
            )  # CHECK
            if number >= config.slots:
                yield self._later(self.begun, number - config.slots)
                now = max(now, self.begun[number - config.slots] + 1)
            self.known.append(now + 1)
            yield self._read(now + 2)
            count = len(sentence.ids)
            _, beats = self.port.request(self._granted(now + 2), 0, 4 * count)
            words = self.port.words(beats)
            embedder, late = Embedder(self.rows, self.embedding), 1 + (config.positions > BUFFERED)
            now = 0
            for index, (token, segment) in enumerate(
                zip(sentence.ids, sentence.segments, strict=True)
            ):
                free = 0
                if given >= config.physical_rows:
                    yield self._later(self.freed, given - config.physical_rows)
                    free = (
                        self.freed[given - config.physical_rows]
                        + 1
                        + (config.physical_rows > BUFFERED)
                    )
                now = embedder.accept(
                    max(now + 1, words[index] + late, free),
                    self.rows.numbers(int(token), index, int(segment)),
                )
                given += 1
            now = embedder.finish() + 3  # counted, STAGED, at ADMIT; the next one
            self.staged.append(now)

    def _granted(self, at):
        """When a run that could be asked for at `at` is: after the one before and the weights."""
        return max(at, self.port.taken + 2, self.idle + 2)

    def _read(self, at):
        return lambda: self._granted(at)

    @staticmethod
    def _later(times, number):
        return lambda: times[number] if number < len(times) else None
