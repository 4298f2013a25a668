# SPDX-License-Identifier: Apache-2.0
"""Who runs a campaign's cases: processes of this computer, or a Dask scheduler's workers.

A configuration is a job, since its simulator is compiled once. Each has a process of its own, so
one that dies takes only the case in hand with it; the simulator of a configuration that was right
is deleted behind its last case.
"""

import concurrent.futures
import contextlib
import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import wait

import torch

from sim.cosim.build import forget_build
from sim.cosim.processes import follow_parent
from sim.proof.campaign.cases import random_case
from sim.proof.campaign.examine import examine
from sim.proof.campaign.kept_cases import KeptCases
from sim.proof.campaign.shrink import shrink
from sim.proof.check import traced

__all__ = ["Job", "dask_executor", "examined", "in_processes", "through"]

LOOK = 1.0  # seconds between two looks at the file of finished cases


@dataclass(frozen=True)
class Job:
    """The cases of one configuration that are to run."""

    seed: int
    number: int
    models: list

    def has(self, record):
        return (record["seed"], record["number"]) == (self.seed, self.number)


def examined(case):
    """The record of a case; of one that fails with the command of its smallest form."""
    record = examine(case)
    if record["failures"]:
        cuts = shrink(case, lambda small: examine(small)["failures"])
        record["command"] = case.command(cuts)
    return record


def _records(job):
    """Run a job: a record after each case."""
    torch.set_num_threads(1)
    failed = False
    for model in job.models:
        case = random_case(job.seed, job.number, model)
        record = examined(case)
        failed |= bool(record["failures"])
        yield record
    if not failed:
        forget_build(case.hardware, traced)


# Processes.


def _process(job, path):
    follow_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees Ctrl-C and ends us
    kept = KeptCases(path)
    for record in _records(job):
        kept.append(record)


def in_processes(jobs, kept, workers, target=_process):
    """Run jobs in at most `workers` processes, which write to `kept`.

    Gives every now and then None, or a job that is finished.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    running = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                process = context.Process(target=target, args=(job, kept.path), daemon=True)
                process.start()
                running[process] = job
            wait([process.sentinel for process in running], timeout=LOOK)
            ended = [process for process in running if not process.is_alive()]
            yield None
            for process in ended:
                job = running.pop(process)
                rest = _after(job, kept, process.exitcode) if process.exitcode else []
                waiting[:0] = rest
                if not rest:
                    yield job
    finally:
        for process in running:
            process.terminate()
            process.join()


def _after(job, kept, status):
    """What is left of a job whose process died: the case in hand failed."""
    left = _left(job, kept)
    if not left:
        return []
    kept.append(_died(job, left[0], f"The process died with exit status {status}"))
    return [Job(job.seed, job.number, left[1:])] if left[1:] else []


def _died(job, model, text):
    """The record of a case that no record came of."""
    case = random_case(job.seed, job.number, model)

    def attempt(case):
        raise RuntimeError(text)

    return examine(case, attempt) | {"command": case.command()}


def _left(job, kept):
    done = {record["model"] for record in kept.records() if job.has(record)}
    return [model for model in job.models if model not in done]


# Executors.


def _all_records(job):
    return list(_records(job))


def through(executor, jobs, kept, work=_all_records):
    """Run jobs on an executor of concurrent.futures; gives each job that is finished."""
    futures = {executor.submit(work, job): job for job in jobs}
    for future in concurrent.futures.as_completed(futures):
        job = futures[future]
        try:
            records = future.result()
        except Exception as error:  # a worker that is lost is no reason to lose the others
            records = [_died(job, model, f"The worker failed: {error}") for model in job.models[:1]]
        for record in records:
            kept.append(record)
        yield job


@contextlib.contextmanager
def dask_executor(address):
    """An executor of the scheduler at an address; its workers need this repository."""
    try:
        from dask.distributed import Client
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "--dask needs dask.distributed, which Terse does not bring: pip install distributed"
        ) from None
    with Client(address) as client:
        yield client.get_executor(pure=False)
