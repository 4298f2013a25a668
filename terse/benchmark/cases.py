# SPDX-License-Identifier: Apache-2.0
"""What `terse bench` runs: the kinds of its cases. terse/benchmark/running.py measures them."""

import dataclasses
import functools
import hashlib
import random
from dataclasses import dataclass
from typing import ClassVar

from compress.data.tasks import find_task
from firmware.driver import by_deadline
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE, HardwareConfig, ceil_div
from sim.cosim import build
from sim.cycles import measure as measuring
from sim.cycles.modelled import BY_MODEL
from sim.cycles.operations import SIMULATED
from terse import catalog
from terse.benchmark.data import DATA, has_data

__all__ = ["ORDERS", "Case", "Deadlines", "Emulated", "Fitted", "Passage", "Stream", "twin"]

NETWORKS = (
    "terse/benchmark/cases.py",
    "terse/benchmark/running.py",
    "terse/benchmark/profile.py",
    "compress/prune.py",
    "compress/huggingface/importing.py",
)
DEPENDS = {  # sources besides those that elaboration depends on, or all sources
    SIMULATED: (
        "sim/cycles/measure.py",
        "sim/cosim/session.py",
        "sim/cosim/cosim.cpp",
        "sim/cosim/axi.h",
    ),
    BY_MODEL: ("firmware/*.py", "golden_model/*.py", "sim/cycles/*.py"),
}
ORDERS = ("first come", "deadline first")
LEAST = 200_000  # cycles to the nearest deadline: what a sentence of tiny takes among eight
PACE = 30_000  # cycles by which deadlines may be later, for each sentence of the queue
# For the time that is left: cycles a second of the simulation, seconds of the cycle model for a
# layer of base and for a sentence of tiny, cycles of a sentence of tiny.
SPEED, LAYER_SECONDS, SENTENCE_SECONDS = 80_000, 0.5, 0.07
SENTENCE_CYCLES = 60_000


@dataclass(frozen=True)
class Case:
    """One run: a network on a machine with a memory. Its kinds say which sentences it is given.

    bytes_per_cycle, latency : of the memory; slots : that may be used
    source : "simulated" or "model"

    A kind has `layers` (of its network), `sentences` (how many), `sparsity` (share of zeros of its
    random weights, or None for a trained model) and `what` (both as text, for the label).
    """

    model: str = "base"
    hardware: HardwareConfig = HARDWARE["edgebert"]
    bytes_per_cycle: int = 16
    latency: int = measuring.FIRST_BEAT
    slots: int = 1
    source: str = SIMULATED

    stream: ClassVar[bool] = True  # a queue of sentences, whose whole is a row of its own
    sparsity: ClassVar[float | None] = None
    layers: ClassVar[int]
    sentences: ClassVar[int]
    what: ClassVar[str]

    @property
    def about(self) -> tuple[int, ...]:
        """Live tokens of each layer of a sentence, roughly; () for a trained model."""
        return ()

    @property
    def live(self):
        """Live tokens of each layer, exactly, where no golden model has to find them; else None."""
        return None

    @property
    def is_layer(self):
        """Whether it is a single layer."""
        return not self.stream and self.layers == 1

    @property
    def shape(self):
        """T and P as text."""
        return f"{self.hardware.tokens}x{self.hardware.columns}"

    @property
    def label(self):
        """A name that no other case of the same source has."""
        zeros = "" if self.sparsity is None else f", {self.sparsity:.0%} zeros"
        return (
            f"{self.model} {self.shape}, {self.what}{zeros}, "
            f"{self.bytes_per_cycle} bytes/cycle, latency {self.latency}"
        )

    @property
    def key(self):
        """Digest of all that the measurement depends on."""
        words = [type(self).__name__, f"{self.hardware.config_hash:08x}"]
        words.append(build.sources_digest() if self.source == SIMULATED else "")
        sources = (*NETWORKS, "sim/cycles/operations.py", "sim/cycles/work.py")
        words += [_texts(name) for name in (*sources, *DEPENDS[self.source])]
        words += [
            str(getattr(self, one.name))
            for one in dataclasses.fields(self)
            if one.name != "hardware"
        ]
        words += [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]

    @property
    def files(self):
        """Paths of what its network and sentences are read from."""
        return ()

    @property
    def estimate(self):
        """Cycles, roughly: for the time left."""
        each = SENTENCE_CYCLES
        if self.about:
            weights = _weights(MODELS[self.model]) * (1 - (self.sparsity or 0.0))
            compute = weights / self.hardware.columns
            memory = 1.3 * weights / self.bytes_per_cycle
            tiles = (ceil_div(tokens, self.hardware.tokens) for tokens in self.about)
            each = 1.1 * sum(max(count * compute, memory) for count in tiles) + 1300 * self.about[0]
        return self.sentences * each / self.slots**0.5

    @property
    def seconds(self):
        """Roughly, without what is shared between cases."""
        if self.source == SIMULATED:
            return self.estimate / SPEED
        if self.sparsity is None:
            return SENTENCE_SECONDS * self.sentences / self.slots**0.7
        size = max(0.1, _weights(MODELS[self.model]) / _weights(MODELS["base"]))
        return LAYER_SECONDS * (1 + 9 * self.stream + self.layers / 2) * size


@dataclass(frozen=True)
class Passage(Case):
    """One random sentence of `tokens` through `layers` of random weights; nobody is dropped."""

    tokens: int = 128
    sparsity: float = 0.0
    layers: int = 1

    stream: ClassVar[bool] = False
    sentences: ClassVar[int] = 1

    @property
    def what(self):
        return f"{self.layers} layer{'s' * (self.layers > 1)}, {self.tokens} tokens"

    @property
    def about(self):
        return (self.tokens,) * self.layers

    @property
    def live(self):
        return self.about


@dataclass(frozen=True)
class Stream(Case):
    """`sentences` of the data through a model as it was trained."""

    sentences: int = 1

    @property
    def layers(self):
        return MODELS[self.model].layers

    @property
    def what(self):
        return _queue(self)

    @property
    def files(self):
        folder = catalog.model_folder(self.model)
        files = [folder / name for name in ("model.safetensors", "config.json", "samples.tsv")]
        return [*files, find_task("sst2", DATA).file("dev")] if has_data() else files

    @property
    def turns(self):
        """Numbers of the sentences in the order of the queue."""
        return range(self.sentences)

    @property
    def deadlines(self):
        """Cycles from the queue's start, in the order of the queue; () without deadlines."""
        return ()


@dataclass(frozen=True)
class Deadlines(Stream):
    """A stream whose sentences have random deadlines and begin in an order of `ORDERS`."""

    order: str = ORDERS[0]

    @property
    def what(self):
        return f"{_queue(self)}, {self.order}"

    @property
    def turns(self):
        return by_deadline(self._drawn) if self.order == ORDERS[1] else range(self.sentences)

    @property
    def deadlines(self):
        drawn = self._drawn
        return [drawn[number] for number in self.turns]

    @property
    def _drawn(self):
        """By number of sentence."""
        generator = random.Random(1)
        most = self.sentences * PACE
        return [LEAST + round(generator.random() * most) for _ in range(self.sentences)]


@dataclass(frozen=True)
class Fitted(Case):
    """Random sentences through random weights that drop tokens.

    profile : live tokens of each layer, on average: thresholds are fitted to it
        (terse/benchmark/profile.py)
    """

    sparsity: float = 0.0
    sentences: int = 1
    profile: tuple = ()

    @property
    def layers(self):
        return len(self.profile)

    @property
    def what(self):
        return f"{_queue(self)}, tokens about {_numbers(self.profile)}"

    @property
    def about(self):
        return self.profile


@dataclass(frozen=True)
class Emulated(Case):
    """Random sentences through random weights, each of which keeps just what `profile` says.

    Only in the cycle model: a random network drops nobody.

    profile : live tokens of each layer until the exit; layers : of the network
    """

    sparsity: float = 0.0
    sentences: int = 1
    profile: tuple = ()
    layers: int = MODELS["base"].layers
    source: str = BY_MODEL

    @property
    def what(self):
        return f"{_queue(self)}, tokens {_numbers(self.profile)}"

    @property
    def about(self):
        return self.profile

    @property
    def live(self):
        return self.profile


def twin(case, source):
    """The same case by another source; an emulated one is the cycle model's alone."""
    return case if isinstance(case, Emulated) else dataclasses.replace(case, source=source)


def _queue(case):
    """How many sentences, and in how many slots."""
    sentences = f"{case.sentences} sentence{'s' * (case.sentences > 1)}"
    return f"{sentences}, {case.slots} slot{'s' * (case.slots > 1)}"


def _numbers(profile):
    return " ".join(map(str, profile))


def _weights(sizes):
    """Of one encoder layer of a model's sizes."""
    return (4 * sizes.hidden + 2 * sizes.feed_forward) * sizes.hidden


@functools.cache
def _texts(pattern):
    """The sources that match, one behind the other."""
    return "\0".join(path.read_text() for path in sorted(build.ROOT.glob(pattern)))
