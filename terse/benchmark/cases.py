# SPDX-License-Identifier: Apache-2.0
"""What `terse bench` runs: cases, the networks and sentences that they mean, and their measurement by co-simulation or cycle model."""

import dataclasses
import functools
import hashlib
import random
from dataclasses import dataclass

from compress.data import DataError, find_split, read_split
from compress.import_hf import prune
from compress.prune import ENCODER, sparsity
from firmware.compiler import compile_network
from golden_model.calibrate import calibrate
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE, HardwareConfig, ceil_div
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.cosim import build
from sim.cosim.session import by_deadline
from sim.cycles import measure as measuring
from sim.cycles.modelled import MODEL, Modelled
from sim.cycles.operations import SIMULATED
from sim.cycles.work import Sentence, of_golden
from terse import catalog
from terse.benchmark.profile import fit
from terse.errors import UserError
from terse.text import encode, gather

__all__ = [
    "DATA",
    "ORDERS",
    "Case",
    "deadlines",
    "has_data",
    "model",
    "network",
    "network_key",
    "queue",
    "simulate",
    "sparsity_of",
]

NETWORKS = (
    "terse/benchmark/cases.py",
    "terse/benchmark/profile.py",
    "compress/prune.py",
    "compress/import_hf.py",
)
DEPENDS = {  # sources besides those that elaboration depends on, or all sources
    SIMULATED: (
        "sim/cycles/measure.py",
        "sim/cosim/session.py",
        "sim/cosim/cosim.cpp",
        "sim/cosim/axi.h",
    ),
    MODEL: ("firmware/*.py", "golden_model/*.py", "sim/cycles/*.py"),
}
DATA = (
    build.ROOT.parent / "shared" / "data"
)  # SST-2's dev split, for more sentences than travel with a model
NEVER = 0.001  # exit threshold in nats that no sentence of a random model reaches: the off-ramp runs in every layer
ETA, EVEN = 0.01, 0.02  # the predictor runs, finds all tokens about alike, and nobody is dropped
ORDERS = ("first come", "deadline first")
LEAST, PACE = (
    200_000,
    30_000,
)  # deadlines: as many cycles as a sentence of tiny takes among eight, and up to so many for each of the queue
WORDS = 1000  # vocabulary of random models: one that no cycle depends on
SPEED, LAYER, STREAM = (
    80_000,
    0.5,
    0.07,
)  # simulated cycles a second; seconds of the cycle model for a base layer, a sentence of tiny


@dataclass(frozen=True)
class Case:
    """One run. With `sentences` a stream of the model's samples, as trained; else one random sentence of `tokens` through random weights.

    sparsity : share of zeros of encoder, pooler and embeddings; bytes_per_cycle, latency : of the memory; slots : that may be used
    profile : makes it a stream of random sentences through random weights, of which so many tokens live in each layer until the last one's exit:
        on average, with thresholds fitted to that (terse/benchmark/profile.py), in a network of as many layers; exactly, in one of more (`emulated`)
    order : of ORDERS, makes it a stream whose sentences have deadlines (`deadlines`) and begin in this order
    source : "simulated" or "model"
    """

    model: str = "base"
    hardware: HardwareConfig = HARDWARE["edgebert"]
    tokens: int = 0
    sparsity: float = 0.0
    layers: int = 1
    bytes_per_cycle: int = 16
    latency: int = measuring.LATENCY
    slots: int = 1
    sentences: int = 0
    profile: tuple = ()
    order: str = ""
    source: str = SIMULATED

    @property
    def random(self):
        """Whether its weights are."""
        return not self.sentences or bool(self.profile)

    @property
    def emulated(self):
        """Whether each sentence keeps just what the profile says and exits early: only in the cycle model, for a random network does neither."""
        return bool(self.profile) and len(self.profile) < self.layers

    @property
    def label(self):
        shape = f"{self.hardware.tokens}x{self.hardware.columns}"
        what = f"{self.layers} layer{'s' * (self.layers > 1)}, {self.tokens} tokens"
        if self.sentences:
            what = f"{self.sentences} sentence{'s' * (self.sentences > 1)}, {self.slots} slot{'s' * (self.slots > 1)}"
        if self.profile:
            what += f", tokens {'about ' * (not self.emulated)}{' '.join(map(str, self.profile))}"
        if self.order:
            what += f", {self.order}"
        zeros = f", {self.sparsity:.0%} zeros" if self.random else ""
        return f"{self.model} {shape}, {what}{zeros}, {self.bytes_per_cycle} bytes/cycle, latency {self.latency}"

    @property
    def key(self):
        """Digest of all that the measurement depends on."""
        words = [
            f"{self.hardware.config_hash:08x}",
            build.sources_digest() if self.source == SIMULATED else "",
        ]
        words += [
            _texts(name)
            for name in (
                *NETWORKS,
                "sim/cycles/operations.py",
                "sim/cycles/work.py",
                *DEPENDS[self.source],
            )
        ]
        words += [
            str(getattr(self, one.name))
            for one in dataclasses.fields(self)
            if one.name != "hardware"
        ]
        if not self.random:
            folder = catalog.model_folder(self.model)
            files = [folder / name for name in ("model.safetensors", "config.json", "samples.tsv")]
            files += [find_split(DATA, "sst2", "dev")] if has_data() else []
            words += [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]

    @property
    def estimate(self):
        """Cycles, roughly: for the time left."""
        each = 60_000
        if self.random:
            live, weights = (
                self.profile or (self.tokens,) * self.layers,
                _weights(MODELS[self.model]) * (1 - self.sparsity),
            )
            work = sum(
                max(
                    ceil_div(tokens, self.hardware.tokens) * weights / self.hardware.columns,
                    1.3 * weights / self.bytes_per_cycle,
                )
                for tokens in live
            )
            each = 1.1 * work + 1300 * live[0]
        return (self.sentences or 1) * each / self.slots**0.5

    @property
    def seconds(self):
        """Roughly, without what is shared between cases."""
        if self.source == SIMULATED:
            return self.estimate / SPEED
        if not self.random:
            return STREAM * self.sentences / self.slots**0.7
        return (
            LAYER
            * (1 + 9 * bool(self.profile) + self.layers / 2)
            * max(0.1, _weights(MODELS[self.model]) / _weights(MODELS["base"]))
        )


def _weights(sizes):
    """Of one encoder layer."""
    return (4 * sizes.hidden + 2 * sizes.feed_forward) * sizes.hidden


@functools.cache
def _texts(pattern):
    return "\0".join(path.read_text() for path in sorted(build.ROOT.glob(pattern)))


def sparsity_of(case):
    """Share of zeros of the encoder's weights."""
    return (
        case.sparsity
        if case.random
        else round(sparsity(_checkpoint(case.model).tensors, ENCODER), 3)
    )


@functools.cache
def has_data():
    """Whether SST-2's dev split is there."""
    try:
        return find_split(DATA, "sst2", "dev").is_file()
    except DataError:
        return False


@functools.cache
def _checkpoint(name):
    return catalog.checkpoint(name)


def network_key(case):
    """What its network depends on: cases with the same one share it."""
    about = () if case.emulated else case.profile
    return (
        case.model,
        case.random and (case.layers, case.sparsity, about, about and case.sentences),
        case.hardware.format,
    )


@functools.lru_cache(maxsize=1)
def _network(name, random, number_format):
    if not random:
        return quantize(_checkpoint(name), number_format)
    layers, zeros, profile, sentences = random
    sizes = dataclasses.replace(MODELS[name], layers=layers, vocabulary=WORDS)
    checkpoint = random_checkpoint(
        sizes, seed=1, density=1.0, eta=ETA, exit_threshold=NEVER, calibration=0
    )  # ranges: below
    if not profile:
        checkpoint.tensors["predictor.score.weight"] *= EVEN
    if zeros:
        checkpoint.tensors = prune(checkpoint.tensors, zeros)
    checkpoint.ranges = calibrate(
        checkpoint, random_sentences(sizes, 2, 1, (sizes.positions + 1) // 2), drop=False
    )
    quantized = quantize(checkpoint, number_format)
    return (
        dataclasses.replace(
            quantized, eta=fit(quantized, _random_queue(name, sentences, profile[0]), profile)
        )
        if profile
        else quantized
    )


def network(case):
    """The `Network` of a case."""
    return _network(*network_key(case))


@functools.lru_cache(maxsize=1)
def _modelled(key, hardware):
    return Modelled(compile_network(_network(*key), hardware))


def queue(case):
    """(token ids, segment ids) of each sentence."""
    if case.random:
        return _random_queue(
            case.model, case.sentences or 1, case.profile[0] if case.profile else case.tokens
        )
    longest, inputs = case.hardware.positions, gather(case.model, ())
    if case.sentences > len(inputs) and has_data():
        inputs = [((row.sentence,), row.label) for row in read_split(DATA, "sst2", "dev")]
    inputs = (inputs * ceil_div(case.sentences, len(inputs)))[: case.sentences]
    words = [
        (one.ids, one.segments)
        for one in encode(catalog.tokenizer(case.model, longest), inputs, longest, truncate=True)
    ]
    return [words[number] for number in _turns(case)]


def _random_queue(name, sentences, tokens):
    return random_sentences(
        dataclasses.replace(MODELS[name], vocabulary=WORDS), sentences, 1, tokens, tokens
    )


def deadlines(case):
    """Cycles from the start of the queue, at random, for each sentence in the order of the queue; none without an `order`."""
    drawn = _drawn(case)
    return [drawn[number] for number in _turns(case)] if case.order else []


def _drawn(case):
    generator = random.Random(1)
    return [
        LEAST + round(generator.random() * case.sentences * PACE) for _ in range(case.sentences)
    ]


def _turns(case):
    """Numbers of the sentences in the order of the queue."""
    return by_deadline(_drawn(case)) if case.order == ORDERS[1] else range(case.sentences)


@functools.lru_cache(maxsize=1024)
def _golden(key, words):
    return of_golden(words, run(_network(*key), *words))


def simulate(case, watch=None):
    """The co-simulation's `Measurement` of a case."""
    if case.emulated:
        raise UserError(
            f"The machine drops what its predictor says, not what a profile says: {case.label}"
        )
    return measuring.measure(
        network(case),
        case.hardware,
        queue(case),
        case.slots,
        case.latency,
        case.bytes_per_cycle,
        watch,
    )


def model(case):
    """The cycle model's `Measurement` of a case; of a single layer with what its memory costs."""
    words = [(tuple(map(int, ids)), tuple(map(int, segments))) for ids, segments in queue(case)]
    if case.random and (
        case.emulated or not case.profile
    ):  # nobody else is dropped or leaves early (ETA, NEVER): no golden model
        live = case.profile or (case.tokens,) * case.layers
        sentences = [Sentence(*one, (live[0], *live[:-1]), live) for one in words]
    else:
        sentences = [_golden(network_key(case), one) for one in words]
    modelled = _modelled(network_key(case), case.hardware)
    return modelled.measure(
        sentences,
        case.slots,
        case.latency,
        case.bytes_per_cycle,
        stalls=case.layers == 1 and not case.sentences,
    )
