# SPDX-License-Identifier: Apache-2.0
"""Measurements of cases, each kept in a file under build/bench/ as soon as it is there."""

import functools
import json
import multiprocessing
import os
import signal
from itertools import groupby

import torch

from firmware.compiler import CompileError
from sim.cosim import build
from sim.cosim.kept import read_entry, write_text
from sim.cosim.processes import follow_parent
from sim.cycles.modelled import BY_MODEL
from sim.cycles.operations import Measurement
from terse.benchmark.running import model, network_key, simulate_case

__all__ = ["STORE", "measure_kept"]

STORE = build.ROOT / "build" / "bench"
GROUP = 8  # seconds of cases of one network that a process takes at once, roughly
POLL = 0.2  # seconds between two looks at what other processes have done


def measure_kept(cases, watch=None):
    """{case: `Measurement`, or why the compiler refused it}.

    The model's cases go first, to as many processes as there are cores.

    watch(case, cycles) : as in `terse.benchmark.rows.bench`
    """
    watch = watch or (lambda case, cycles: None)
    paths = {case: STORE / f"{case.key}.json" for case in cases}
    new = [case for case in cases if _load(paths[case]) is None]
    for case in cases:
        if case not in new:
            watch(case, None)
    _model({case: paths[case] for case in new if case.source == BY_MODEL}, watch)
    for case in new:
        if case.source != BY_MODEL:
            _keep(
                case,
                paths[case],
                functools.partial(simulate_case, watch=functools.partial(watch, case)),
            )
            watch(case, None)
    return {case: _load(path) for case, path in paths.items()}


def _load(path):
    """What a file holds: a `Measurement`, a refusal, or None where nothing is kept.

    A file that holds something else is as good as none and goes.
    """
    value = read_entry(path)
    if value is None:
        return None
    try:
        refused = value.get("refused")
        return str(refused) if refused else Measurement.from_json(value["measurement"])
    except (AttributeError, KeyError, TypeError, ValueError):
        path.unlink(missing_ok=True)
        return None


def _keep(case, path, measured):
    """Write what `measured(case)` gives."""
    try:
        value = {"case": case.label, "measurement": measured(case).to_json()}
    except CompileError as error:
        value = {"case": case.label, "refused": str(error)}
    write_text(path, json.dumps(value))


def _model(paths, watch):
    """Processes of their own write the files; here we see them come."""
    groups = [[(case, paths[case]) for case in group] for group in _groups(paths)]
    if not groups:
        return
    with multiprocessing.get_context("fork").Pool(
        min(os.cpu_count() or 1, len(groups)), _alone
    ) as pool:  # leaving it ends them
        running, left = pool.map_async(_model_group, groups, chunksize=1), list(paths)
        ended = False
        while not ended:
            running.wait(POLL)
            ended = running.ready()
            if ended:
                running.get()  # what went wrong there is raised here
            for case in [case for case in left if _load(paths[case]) is not None]:
                left.remove(case)
                watch(case, None)


def _alone():
    """The parent sees Ctrl-C and ends its processes; there is a core for one thread of each."""
    follow_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _groups(cases):
    """Cases that share a network and, where they can, a program, the longest first."""
    ordered, groups = (
        sorted(cases, key=lambda case: (str(network_key(case)), case.hardware.config_hash)),
        [],
    )
    for _, part in groupby(ordered, network_key):
        seconds = 0
        for case in part:
            if not seconds or seconds + case.seconds > GROUP:
                groups.append([])
                seconds = 0
            groups[-1].append(case)
            seconds += case.seconds
    return sorted(groups, key=lambda group: -sum(case.seconds for case in group))


def _model_group(cases):
    for case, path in cases:
        _keep(case, path, model)
