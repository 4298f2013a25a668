# SPDX-License-Identifier: Apache-2.0
"""Measurements by the cycle model: the same `Measurement` as measure.py's, without a simulation.

    measurement = Modelled(program).measure(sentences, slots, latency=100, bytes_per_cycle=16)

A long stream of equal sentences comes to passes that repeat; those that have repeated once are not
predicted again.
"""

from firmware.image import section_bytes
from firmware.isa import BYTES, Opcode
from firmware.record import RECORD
from sim.cycles.embedding import RowImage
from sim.cycles.model import predict
from sim.cycles.operations import Ledger, Measurement
from sim.cycles.staging import DESCRIPTOR_BYTES
from sim.cycles.work import executed, schedule

__all__ = ["BY_MODEL", "Modelled"]

BY_MODEL = "model"
PERIOD = 16  # passes after which a stream may repeat


class Modelled:
    """What is kept of a program from run to run."""

    def __init__(self, program):
        self.program, self.config = program, program.hardware
        self.ledger, self.rows = Ledger(program), RowImage(program.embedding)
        self._codes = {}  # of the cycle model
        self._unhindered = {}  # cycles with a perfect memory

    def measure(self, sentences, slots, latency, bytes_per_cycle, stalls=False):
        """`Measurement` of a queue of `work.Sentence`s.

        stalls : also count as STALL_MEMORY what each operation would save with a memory of one
            cycle's latency at the bus's full width
        """
        runs = _runs(self.program, schedule(self.program, sentences, slots))
        cycles = self._cycles(runs, latency, bytes_per_cycle)
        saved = [0] * len(cycles)
        if stalls:
            saved = [
                max(0, some - best) for some, best in zip(cycles, self._best(runs), strict=True)
            ]
        operations = []
        layer = -1
        read = section_bytes(BYTES * len(self.program.instructions))
        for run, taken, stalled in zip(runs, cycles, saved, strict=True):
            layer += self._opcode(run[-1]) == Opcode.ADMIT
            operations.append(
                self._operation(
                    run, layer, taken, {"STALL_MEMORY": stalled} if stalls else {}, read
                )
            )
            read = 0  # the program comes once
        return Measurement(
            operations,
            sum(cycles),
            [len(sentence.ids) for sentence in sentences],
            [list(sentence.live) for sentence in sentences],
            *self._times(runs, cycles),
            BY_MODEL,
        )

    def _opcode(self, work):
        return Opcode(self.program.instructions[work.pc]["opcode"])

    def _best(self, runs):
        key = tuple(_key(self.program, run) for run in runs)
        if key not in self._unhindered:
            self._unhindered[key] = self._cycles(runs, 1, self.config.bus_bytes)
        return self._unhindered[key]

    def _cycles(self, runs, latency, bytes_per_cycle):
        """The cycles of each run, in a list."""
        passes = _passes(self.program, runs)
        like = _repeated([tuple(_key(self.program, run) for run in one) for one in passes])
        kept = [number for number, other in enumerate(like) if number == other]
        work = [one for number in kept for run in passes[number] for one in run]
        predicted = iter(
            predict(self.program, self.config, work, latency, bytes_per_cycle, self._codes)
        )
        found = {number: [next(predicted).cycles for _ in passes[number]] for number in kept}
        return [cycles for number in like for cycles in found[number]]

    def _operation(self, run, layer, cycles, counters, read):
        one = run[-1]
        made = self.ledger.operation(
            one, layer, cycles, counters, read + sum(self.moved(one).values())
        )
        counters["ARRAY_BUSY"] = round(made.lanes / self.config.tokens / self.config.columns)
        return made

    def moved(self, one):
        """{counter: bytes} of each port: bus words, each weight once."""
        values = self.program.instructions[one.pc]
        width = self.config.bus_bytes
        read = 0
        embedding = 0
        written = 0
        if self._opcode(one) == Opcode.LINEAR:
            read = values["beats"] * width
        if self._opcode(one) == Opcode.EXIT:
            written = len(one.ended) * 4 * RECORD.words(self.config)
        for sentence in one.admitted:
            read += _words(0, DESCRIPTOR_BYTES, width) + _words(0, 4 * len(sentence.ids), width)
            for position, (token, segment) in enumerate(
                zip(sentence.ids, sentence.segments, strict=True)
            ):
                for number in self.rows.numbers(int(token), position, int(segment)):
                    embedding += _words(self.rows.table + 4 * number, 8, width) + _words(
                        *self.rows.place(number), width
                    )
        return {"BYTES_READ": read, "BYTES_EMBEDDING": embedding, "BYTES_WRITTEN": written}

    def _times(self, runs, cycles):
        """(latencies, ends) of the sentences.

        A latency is from the sentence's turn in ADMIT, which goes by tokens, to the end of the EXIT
        that lets it go.
        """
        begun = []
        ended = {}
        now = 0
        for run, taken in zip(runs, cycles, strict=True):
            lengths = [len(sentence.ids) for sentence in run[-1].admitted]
            begun += [
                now + taken * sum(lengths[:index]) // sum(lengths) for index in range(len(lengths))
            ]
            now += taken
            ended |= dict.fromkeys(run[-1].ended, now)
        return [ended[number] - begin for number, begin in enumerate(begun)], [
            ended[number] for number in range(len(begun))
        ]


def _words(address, count, width):
    """Bytes of the bus words that hold `count` bytes."""
    return ((address + count - 1) // width - address // width + 1) * width


def _runs(program, work):
    """Each operation with the skipped ones before it."""
    runs = []
    run = []
    worked = {id(one) for one in executed(program, work)}
    for one in work:
        run.append(one)
        if id(one) in worked:
            runs.append(run)
            run = []
    return runs


def _passes(program, runs):
    """Runs by pass, each of which begins with ADMIT."""
    passes = []
    for run in runs:
        if Opcode(program.instructions[run[-1].pc]["opcode"]) == Opcode.ADMIT:
            passes.append([])
        passes[-1].append(run)
    return passes


def _repeated(keys):
    """For each pass the number of that which it is like.

    That is its own, or one of the period before, when that period has repeated already.
    Whole periods are left out, so that the passes that remain follow each other as they would.
    """
    like = []
    while len(like) < len(keys):
        now = len(like)
        period = next(
            (
                size
                for size in range(1, min(PERIOD, now // 2) + 1)
                if keys[now - 2 * size : now - size]
                == keys[now - size : now]
                == keys[now : now + size]
            ),
            0,
        )
        like += like[now - period :] if period else [now]
    return like


def _key(program, run):
    """What the cycles of an operation depend on, with the skipped ones before it."""
    one = run[-1]
    values, streams = program.instructions[one.pc], program.columns.get(one.pc, ())
    where = one.rows, one.total
    if Opcode(values["opcode"]) in (Opcode.LINEAR, Opcode.NORM):
        where = tuple(one.tiles(values, program.hardware.tokens))
    layer = one.layer if len(streams) > 1 else 0
    return (
        tuple(skipped.pc for skipped in run),
        where,
        layer,
        tuple(len(sentence.ids) for sentence in one.admitted),
        len(one.ended),
    )
