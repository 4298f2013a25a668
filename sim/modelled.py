# SPDX-License-Identifier: Apache-2.0
"""Measurements by the cycle model: the same `Measurement` as sim/measure.py's, without a simulation.

    measurement = Modelled(program).measure(sentences, slots, latency=100, bytes_per_cycle=16)

Equal sentences soon make equal passes: of a long queue of them only as many are predicted as show every pair of successive passes.
"""
from itertools import pairwise

from firmware.isa import BYTES, Opcode
from sim.cycle_embedding import Rows
from sim.cycle_model import predict
from sim.cycle_work import executed, schedule
from sim.operations import Ledger, Measurement

__all__ = ["MODEL", "Modelled"]

MODEL = "model"
DESCRIPTOR = 16     # bytes of a sentence in the queue


class Modelled:
    """What is kept of a program from run to run."""

    def __init__(self, program):
        self.program, self.config = program, program.hardware
        self.ledger, self.rows = Ledger(program), Rows(program.embedding)
        self._codes, self._unhindered = {}, {}      # of the cycle model; cycles with a perfect memory

    def measure(self, sentences, slots, latency, bytes_per_cycle, stalls=False):
        """`Measurement` of a queue of `cycle_work.Sentence`s.

        stalls : also count as STALL_MEMORY what each operation would save with a memory of one cycle's latency at the bus's full width
        """
        runs = self._runs(sentences, slots)
        few = self._few(sentences, runs, slots)
        cycles = self._cycles(runs, few, latency, bytes_per_cycle)
        saved = [0] * len(cycles)
        if stalls:
            saved = [max(0, some - best) for some, best in zip(cycles, self._best(runs, few), strict=True)]
        operations, layer = [], -1
        for run, taken, stalled in zip(runs, cycles, saved, strict=True):
            layer += self._opcode(run[-1]) == Opcode.ADMIT
            operations.append(self._operation(run, layer, taken, {"STALL_MEMORY": stalled} if stalls else {}))
        return Measurement(operations, sum(cycles), [len(sentence.ids) for sentence in sentences], [len(sentence.live) for sentence in sentences],
                           self._latencies(runs, cycles), MODEL)

    def _opcode(self, work):
        return Opcode(self.program.instructions[work.pc]["opcode"])

    def _runs(self, sentences, slots):
        """Each operation with the skipped ones before it."""
        work, runs, run = schedule(self.program, sentences, slots), [], []
        worked = {id(one) for one in executed(self.program, work)}
        for one in work:
            run.append(one)
            if id(one) in worked:
                runs.append(run)
                run = []
        return runs

    def _passes(self, runs):
        """[(first run, key of the pass and of the one before)]; the key is all that its cycles depend on but the words themselves."""
        begins = [index for index, run in enumerate(runs) if self._opcode(run[-1]) == Opcode.ADMIT]
        keys = [tuple(_key(run) for run in runs[begin:end]) for begin, end in pairwise([*begins, len(runs)])]
        return list(zip(begins, pairwise([(), *keys]), strict=True))

    def _few(self, sentences, runs, slots):
        """`runs` of as few sentences as have every pass; of all where sentences differ."""
        if len({(sentence.entering, sentence.live) for sentence in sentences}) > 1:
            return runs
        wanted = {key for _, key in self._passes(runs)}
        shorter = (self._runs(sentences[:count], slots) for count in range(1, len(sentences)))
        return next((few for few in shorter if wanted <= {key for _, key in self._passes(few)}), runs)

    def _best(self, runs, few):
        key = tuple(map(_key, runs))
        if key not in self._unhindered:
            self._unhindered[key] = self._cycles(runs, few, 1, self.config.bus_bytes)
        return self._unhindered[key]

    def _cycles(self, runs, few, latency, bytes_per_cycle):
        """Of each run, what was predicted for the same pass among the few."""
        work = [one for run in few for one in run]
        cycles = [one.cycles for one in predict(self.program, self.config, work, latency, bytes_per_cycle, self._codes)]
        found = {}
        for (begin, key), (end, _) in pairwise([*self._passes(few), (len(few), None)]):
            found[key] = cycles[begin:end]
        return [one for _, key in self._passes(runs) for one in found[key]]

    def _operation(self, run, layer, cycles, counters):
        one = run[-1]
        made = self.ledger.operation(one, layer, cycles, counters, len(run) * BYTES + self._bytes(one))
        counters["ARRAY_BUSY"] = round(made.lanes / self.config.tokens / self.config.columns)
        return made

    def _bytes(self, one):
        """On all ports, the instruction's own fetch apart: bus words, each weight once."""
        values, width = self.program.instructions[one.pc], self.config.bus_bytes
        if self._opcode(one) == Opcode.LINEAR:
            return values["beats"] * width
        if self._opcode(one) == Opcode.EXIT:
            return len(one.ended) * 4 * self.config.result_words
        moved = 0
        for sentence in one.admitted:
            moved += _words(0, DESCRIPTOR, width) + _words(0, 4 * len(sentence.ids), width)
            for position, (token, segment) in enumerate(zip(sentence.ids, sentence.segments, strict=True)):
                for number in self.rows.numbers(int(token), position, int(segment)):
                    moved += _words(self.rows.table + 4 * number, 8, width) + _words(*self.rows.place(number), width)
        return moved

    def _latencies(self, runs, cycles):
        """Of each sentence, from its turn in ADMIT, which goes by tokens, to the end of the EXIT that lets it go."""
        begun, ended, now = [], {}, 0
        for run, taken in zip(runs, cycles, strict=True):
            lengths = [len(sentence.ids) for sentence in run[-1].admitted]
            begun += [now + taken * sum(lengths[:index]) // sum(lengths) for index in range(len(lengths))]
            now += taken
            ended |= dict.fromkeys(run[-1].ended, now)
        return [ended[number] - begin for number, begin in enumerate(begun)]


def _words(address, count, width):
    """Bytes of the bus words that hold `count` bytes."""
    return ((address + count - 1) // width - address // width + 1) * width


def _key(run):
    one = run[-1]
    lengths = tuple(len(sentence.ids) for sentence in one.admitted)
    return tuple(skipped.pc for skipped in run), one.rows, one.slots, one.layer, one.total, lengths, len(one.ended)
