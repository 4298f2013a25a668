# SPDX-License-Identifier: Apache-2.0
"""Sentences through several simulated accelerators at a time, a process for each.

As `sim.proof.check.check`, with a queue for each process.

    outcome = check(network, config, sentences, jobs=2)

Sentences are dealt out in turn. Each queue is one of its own, which shares no pass with another:
bits are those of a single queue, cycles are not.
"""

import dataclasses
import multiprocessing
import pickle
import re
import signal
import time
import traceback
from multiprocessing.connection import wait

import torch

from firmware.compiler import compile_network
from sim.cosim.build import build
from sim.cosim.processes import follow_parent
from sim.proof import check as alone
from sim.proof.check import Outcome, traced

__all__ = ["JobError", "check_parallel"]


class JobError(RuntimeError):
    """A process of the co-simulation ended without an outcome."""


def check_parallel(network, config, sentences, jobs=1, slots=None, trace=None, watch=None):
    """Run (ids, segments) pairs as `jobs` queues -> Outcome.

    Cycles are the sum of all queues, seconds those of the longest.

    trace : as in `sim.proof.check.check`, of a single queue; watch : as there, of all queues
        together
    """
    if not 1 <= jobs <= len(sentences):
        raise ValueError(
            f"Jobs must be in 1..{len(sentences)}, the number of sentences, not {jobs}"
        )
    if jobs == 1:
        return alone.check(network, config, sentences, slots, trace=trace, watch=watch)
    if trace is not None:
        raise ValueError(f"A waveform must be of 1 job, not of {jobs}")
    compile_network(network, config)  # what it refuses is said here
    build(config, traced)  # once, before every process wants it
    parts = [range(first, len(sentences), jobs) for first in range(jobs)]
    running = [
        _Job(network, config, [sentences[number] for number in part], slots) for part in parts
    ]
    begin = time.perf_counter()
    try:
        outcomes = _outcomes(running, watch or (lambda *where: None))
    finally:
        for job in running:
            job.end()
    return dataclasses.replace(_joined(outcomes, parts), seconds=time.perf_counter() - begin)


class _Job:
    """A process that checks one queue.

    `where` is what its `watch` saw last, `outcome` comes at its end.
    """

    def __init__(self, *arguments):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.where, self.outcome = None, None
        self._process = context.Process(target=_work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def receive(self):
        """The next message.

        Progress, the outcome, or the text of an exception, which is raised here.
        """
        try:
            kind, value = pickle.loads(self.pipe.recv_bytes())
        except EOFError:
            self._process.join()
            raise JobError(
                f"A process of the co-simulation died with exit status {self._process.exitcode}"
            ) from None
        if kind == "error":
            raise JobError(f"A process of the co-simulation failed:\n{value}")
        setattr(self, kind, value)

    def end(self):
        self._process.terminate()
        self._process.join()
        self.pipe.close()


def _work(pipe, network, config, sentences, slots):
    """Check a queue in a child: places, then the outcome or the traceback, go into `pipe`."""
    follow_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees Ctrl-C and ends us
    torch.set_num_threads(1)

    def send(kind, value):
        pipe.send_bytes(pickle.dumps((kind, value)))

    try:
        outcome = alone.check(
            network, config, sentences, slots, watch=lambda *where: send("where", where)
        )
        outcome.goldens = [dataclasses.replace(golden, tensors={}) for golden in outcome.goldens]
        send("outcome", outcome)
    except Exception:
        send("error", traceback.format_exc())


def _outcomes(running, watch):
    while left := [job for job in running if job.outcome is None]:
        for pipe in wait([job.pipe for job in left]):
            next(job for job in left if job.pipe is pipe).receive()
        if all(job.where for job in running):
            watch(*map(sum, zip(*(job.where for job in running), strict=True)))
    return [job.outcome for job in running]


def _joined(outcomes, parts):
    """One `Outcome` with the sentences in their order.

    A queue that stopped early has no records.
    """
    count = sum(map(len, parts))
    joined = Outcome([None] * count, [None] * count if any(one.records for one in outcomes) else [])
    for outcome, numbers in zip(outcomes, parts, strict=True):
        for index, number in enumerate(numbers):
            joined.goldens[number] = outcome.goldens[index]
            if outcome.records:
                joined.records[number] = dataclasses.replace(outcome.records[index], tag=number)
        joined.failures += [_renumbered(text, numbers) for text in outcome.failures]
        joined.failed |= (
            set(numbers) if -1 in outcome.failed else {numbers[index] for index in outcome.failed}
        )
    for name in ("tensors", "elements", "cycles", "mixed_tiles"):
        setattr(joined, name, sum(getattr(one, name) for one in outcomes))
    if all(one.counters for one in outcomes):
        joined.counters = {
            name: sum(one.counters[name] for one in outcomes) for name in outcomes[0].counters
        }
    joined.names = tuple(sorted({name for one in outcomes for name in one.names}))
    return joined


def _renumbered(text, numbers):
    return re.sub(r"\bsentence (\d+)", lambda found: f"sentence {numbers[int(found[1])]}", text)
