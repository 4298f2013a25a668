# SPDX-License-Identifier: Apache-2.0
"""One mutant, one verdict: what a reader may raise, how long it may take, how much memory.

A case follows from seed, target and number alone, so `--seed S --only TARGET --case I` is the same
mutant again.
"""

import random
import resource
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FuzzTally", "FuzzTarget", "fuzz_reader"]

SECONDS = 2.0  # of the processor, for one mutant
PATIENCE = 10.0  # after which a mutant is given up
MEBIBYTES = 300  # more than before the mutant
GUARD = 2048  # MiB; behind it the process gets no memory
LONGEST = 600  # characters of a message
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class FuzzTally:
    """What the cases of one target came to.

    errors : refused ones by kind
    failures : text of each finding, with the number of its case
    returned : calls of the C driver by what they returned
    """

    cases: int = 0
    accepted: int = 0
    errors: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    returned: Counter = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return self.cases - self.accepted - len(self.failures)

    def to_json(self) -> dict[str, Any]:
        """Figures by name."""
        figures = {
            "accepted": self.accepted,
            "cases": self.cases,
            "errors": dict(self.errors),
            "failures": len(self.failures),
            "refused": self.refused,
        }
        return figures | ({"returned": dict(self.returned)} if self.returned else {})


@dataclass(frozen=True)
class FuzzTarget:
    """A reader and the mutants for it.

    prepare : () -> what `mutate` needs, made once
    mutate : (random.Random, prepared) -> a mutant
    read : mutant -> None; reads it, and uses it where it was accepted
    documented : exceptions by which it may be refused
    """

    name: str
    prepare: Callable[[], Any]
    mutate: Callable[[random.Random, Any], Any]
    read: Callable[[Any], None]
    documented: tuple[type[Exception], ...]


class _GivenUp(BaseException):
    """Raised into a mutant that does not end; no `except Exception` catches it."""


def _give_up(signum, frame):
    raise _GivenUp


@contextmanager
def _limited():
    """A bound of the address space, so that a finding does not end the fuzzer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (GUARD << 20), hard))
    before = signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _peak():
    """MiB of the most memory since the peak was last cleared."""
    text = STATUS.read_text()
    return int(text[text.index("VmHWM:") + 6 :].split(maxsplit=1)[0]) >> 10


def _kind(error):
    """An error's name and, of an image's, the code of the hardware."""
    code = getattr(error, "error", None)
    return f"{type(error).__name__} {code.name}" if code is not None else type(error).__name__


def _judge(target, mutant):
    """(kind of the refusal, None where it was accepted; what is wrong with it, or None)."""
    try:
        target.read(mutant)
    except target.documented as error:
        text = str(error)
        if not text or "\n" in text or len(text) > LONGEST:
            return None, f"no line of text: {type(error).__name__}: {text[: 2 * LONGEST]!r}"
        return _kind(error), None
    except _GivenUp:
        return None, f"not done after {PATIENCE:g} s\n{traceback.format_exc()}"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of a library in Rust is no Exception
        return None, traceback.format_exc()
    return None, None


def _case(target, prepared, seed, number, tally):
    """Make and read one mutant; adds the verdict to the tally."""
    mutant = target.mutate(random.Random(f"{seed}/{target.name}/{number}"), prepared)
    PEAK.write_text("5")
    memory, begin = _peak(), time.process_time()
    with _limited():
        kind, wrong = _judge(target, mutant)
    seconds, memory = time.process_time() - begin, _peak() - memory
    if wrong is None and seconds > SECONDS:
        wrong = f"{seconds:.1f} s, more than {SECONDS:g}"
    if wrong is None and memory > MEBIBYTES:
        wrong = f"{memory} MiB, more than {MEBIBYTES}"
    tally.cases += 1
    if wrong is not None:
        tally.failures.append((number, wrong))
    elif kind is None:
        tally.accepted += 1
    else:
        tally.errors[kind] += 1


def fuzz_reader(target: FuzzTarget, seed: int, numbers: range) -> Iterator[FuzzTally]:
    """Cases of a target; yields the tally so far after each of them."""
    prepared = target.prepare()
    tally = FuzzTally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in numbers:
            _case(target, prepared, seed, number, tally)
            yield tally
