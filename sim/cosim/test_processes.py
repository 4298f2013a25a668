# SPDX-License-Identifier: Apache-2.0
"""Nothing runs on behind a command that was killed: neither simulations nor compilers."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 10  # for a loaded machine; it takes milliseconds
# Children share a pipe, so each writes its number in one piece, which `print` does not promise.
CHILDREN = {
    # A program as sim.cosim.build calls the compilers, from a thread.
    "compiler": """
import sys, threading
from sim.cosim import build
real = build.subprocess.run
def run(command, capture_output, **keywords):
    return real(command, **keywords)
build.subprocess.run = run
command = ["sh", "-c", "echo $$; exec sleep 60"]
threading.Thread(target=build._call, args=(command, "a compiler")).start()
""",
    # Queues of sim.proof.parallel, whose check is a long sleep.
    "queues": """
import os, time
from types import SimpleNamespace
from sim.proof import parallel
def sleep(*arguments, **keywords):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
parallel.compile_network = parallel.build = lambda *arguments: None
parallel.alone.check = sleep
parallel.check_parallel(None, None, ["a", "b"], 2)
""",
    # The pool of terse.evaluate.
    "golden": """
import os, time
from terse import evaluate
def sleep(number):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
with evaluate.golden_pool(None) as pool:
    pool.map(sleep, [1, 2], chunksize=1)
""",
    # The pool of terse.benchmark.kept.
    "measurements": """
import multiprocessing, os, time
from terse.benchmark import kept
def sleep(number):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(60)
with multiprocessing.get_context("fork").Pool(2, kept._alone) as pool:
    pool.map(sleep, [1, 2], chunksize=1)
""",
}


def is_there(process):
    """Whether a process runs; a zombie that nobody waits for does not."""
    try:
        status = pathlib.Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the children")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("kind", CHILDREN)
def test_children_end(kind, end):
    """Children end within SECONDS of their parent, whichever signal ended it."""
    code = CHILDREN[kind]
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    count = 1 if kind == "compiler" else 2
    children = []
    try:
        children += [int(parent.stdout.readline()) for _ in range(count)]
        assert all(is_there(child) for child in children)
        parent.send_signal(end)
        parent.wait(SECONDS)
        begin = time.monotonic()
        while any(is_there(child) for child in children):
            assert time.monotonic() - begin < SECONDS, f"{kind} runs on behind its parent"
            time.sleep(0.02)
    finally:
        parent.kill()
        for child in children:
            if is_there(child):
                os.kill(child, signal.SIGKILL)
        parent.stdout.close()
        parent.wait()
