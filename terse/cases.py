# SPDX-License-Identifier: Apache-2.0
"""What `terse bench` runs: cases, the networks and sentences that they mean, and their measurement in the co-simulation."""
import dataclasses
import functools
import hashlib
from dataclasses import dataclass

from compress.import_hf import prune
from compress.prune import ENCODER, sparsity
from golden_model.calibrate import calibrate
from golden_model.config import MODELS
from golden_model.hardware import HARDWARE, HardwareConfig, ceil_div
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim import cosim_build
from sim import measure as measuring
from terse import catalog
from terse.text import encode, gather

__all__ = ["Case", "simulate", "sparsity_of"]

MEASURED_BY = ("sim/measure.py", "sim/session.py", "sim/cosim.cpp", "sim/cosim_axi.h", "terse/cases.py", "compress/prune.py",
               "compress/import_hf.py")     # besides what elaboration depends on
NEVER = 0.001           # exit threshold in nats that no sentence of a random model reaches: the off-ramp runs in every layer
ETA, EVEN = 0.01, 0.02  # the predictor runs, finds all tokens about alike, and nobody is dropped
WORDS = 1000            # vocabulary of random models: one that no cycle depends on


@dataclass(frozen=True)
class Case:
    """One run. With `sentences` a stream of the model's samples, as trained; else one random sentence of `tokens` through random weights.

    sparsity : share of zeros of encoder, pooler and embeddings; bytes_per_cycle, latency : of the memory; slots : that may be used
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

    @property
    def label(self):
        shape = f"{self.hardware.tokens}x{self.hardware.columns}"
        what = f"{self.sentences} sentences, {self.slots} slot{'s' * (self.slots > 1)}" if self.sentences else (
            f"{self.layers} layer{'s' * (self.layers > 1)}, {self.tokens} tokens, {self.sparsity:.0%} zeros")
        return f"{self.model} {shape}, {what}, {self.bytes_per_cycle} bytes/cycle, latency {self.latency}"

    @property
    def key(self):
        """Digest of all that the measurement depends on."""
        words = [f"{self.hardware.config_hash:08x}", cosim_build.sources_digest(), *(_text(name) for name in MEASURED_BY)]
        words += [str(getattr(self, one.name)) for one in dataclasses.fields(self) if one.name != "hardware"]
        if self.sentences:
            folder = catalog.model_folder(self.model)
            words += [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.safetensors", "config.json", "samples.tsv")]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]

    @property
    def estimate(self):
        """Cycles, roughly: for the time left."""
        if self.sentences:
            return self.sentences * 60_000 / self.slots ** 0.5
        model = MODELS[self.model]
        weights = (4 * model.hidden + 2 * model.feed_forward) * model.hidden * (1 - self.sparsity)
        work = ceil_div(self.tokens, self.hardware.tokens) * weights / self.hardware.columns
        return self.layers * 1.1 * max(work, 1.3 * weights / self.bytes_per_cycle) + 1300 * self.tokens


@functools.cache
def _text(name):
    return (cosim_build.ROOT / name).read_text()


def sparsity_of(case):
    """Share of zeros of the encoder's weights."""
    return round(sparsity(_checkpoint(case.model).tensors, ENCODER), 3) if case.sentences else case.sparsity


@functools.cache
def _checkpoint(model):
    return catalog.checkpoint(model)


@functools.lru_cache(maxsize=1)
def _random_network(name, layers, zeros, number_format):
    model = dataclasses.replace(MODELS[name], layers=layers, vocabulary=WORDS)
    checkpoint = random_checkpoint(model, seed=1, density=1.0, eta=ETA, exit_threshold=NEVER)
    checkpoint.tensors["predictor.score.weight"] *= EVEN
    if zeros:
        checkpoint.tensors = prune(checkpoint.tensors, zeros)
    checkpoint.ranges = calibrate(checkpoint, random_sentences(model, 8, 1, (model.positions + 1) // 2), drop=False)
    return quantize(checkpoint, number_format)


def simulate(case, watch=None):
    """The co-simulation's `Measurement` of a case."""
    if case.sentences:
        network = quantize(_checkpoint(case.model), case.hardware.format)
        inputs = gather(case.model, (), count=case.sentences)
        longest = case.hardware.positions
        sentences = [(one.ids, one.segments) for one in encode(catalog.tokenizer(case.model, longest), inputs, longest)]
    else:
        network = _random_network(case.model, case.layers, case.sparsity, case.hardware.format)
        sentences = random_sentences(network.model, 1, 1, case.tokens, case.tokens)
    return measuring.measure(network, case.hardware, sentences, case.slots, case.latency, case.bytes_per_cycle, watch)
