# SPDX-License-Identifier: Apache-2.0
"""Processes that end when the one that began them ends, however it does.

Linux sends a signal to the children of a process that dies (PR_SET_PDEATHSIG), so that neither a
simulation nor a compiler runs on for minutes behind a killed command. Elsewhere nothing is done.
"""

import ctypes
import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["follow_parent", "following"]

PR_SET_PDEATHSIG = 1
# Loaded here, since a child of a program with threads should load nothing before it runs another.
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def follow_parent() -> None:
    """Let this process of `multiprocessing` be killed when its parent ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _follow(parent.pid)


def following() -> Callable[[], None]:
    """`preexec_fn` of a program that is killed when this process ends."""
    return functools.partial(_follow, os.getpid())


def _follow(parent):
    if _LIBC is None:
        return
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
