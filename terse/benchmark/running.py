# SPDX-License-Identifier: Apache-2.0
"""How a case is measured: its network, its sentences, by co-simulation or by the cycle model."""

import dataclasses
import functools

from compress.data.tasks import find_task
from compress.huggingface.importing import prune
from compress.prune import ENCODER_WEIGHTS, sparsity
from firmware.compiler import compile_network
from golden_model.calibrate import calibrate
from golden_model.config import MODELS
from golden_model.hardware import ceil_div
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences
from sim.cycles import measure as measuring
from sim.cycles.modelled import Modelled
from sim.cycles.work import SentenceWork, of_golden
from terse import catalog
from terse.benchmark.cases import Emulated, Fitted
from terse.benchmark.data import DATA, has_data
from terse.benchmark.profile import fit
from terse.errors import UserError
from terse.text import encode_texts, gather

__all__ = ["model", "case_network", "network_key", "queue", "simulate_case", "sparsity_of"]

# Exit threshold in nats that no sentence of a random model reaches: it goes through all layers.
NEVER = 0.001
# The predictor runs and finds all tokens about alike, so that nobody is dropped.
ETA, EVEN = 0.01, 0.02
WORDS = 1000  # vocabulary of random models: one that no cycle depends on


def sparsity_of(case):
    """Share of zeros of the encoder's weights."""
    if case.sparsity is not None:
        return case.sparsity
    return round(sparsity(_checkpoint(case.model).tensors, ENCODER_WEIGHTS), 3)


@functools.cache
def _checkpoint(name):
    return catalog.checkpoint(name)


def network_key(case):
    """What its network depends on: cases with the same one share it."""
    random = None
    if case.sparsity is not None:
        fitted = (case.profile, case.sentences) if isinstance(case, Fitted) else None
        random = case.layers, case.sparsity, fitted
    return case.model, random, case.hardware.format


@functools.lru_cache(maxsize=1)
def _network(name, random, number_format):
    """The catalog's model quantized, or a random one: `random` is (layers, zeros, fitted)."""
    if random is None:
        return quantize(_checkpoint(name), number_format)
    layers, zeros, fitted = random
    sizes = dataclasses.replace(MODELS[name], layers=layers, vocabulary=WORDS)
    checkpoint = random_checkpoint(  # ranges: below
        sizes, seed=1, density=1.0, eta=ETA, exit_threshold=NEVER, calibration=0
    )
    if not fitted:
        checkpoint.tensors["predictor.score.weight"] *= EVEN
    if zeros:
        checkpoint.tensors = prune(checkpoint.tensors, zeros)
    half = (sizes.positions + 1) // 2
    checkpoint.ranges = calibrate(checkpoint, random_sentences(sizes, 2, 1, half), drop=False)
    quantized = quantize(checkpoint, number_format)
    if not fitted:
        return quantized
    profile, sentences = fitted
    eta = fit(quantized, _random_queue(name, sentences, profile[0]), profile)
    return dataclasses.replace(quantized, eta=eta)


def case_network(case):
    """The `Network` of a case."""
    return _network(*network_key(case))


@functools.lru_cache(maxsize=1)
def _modelled(key, hardware):
    return Modelled(compile_network(_network(*key), hardware))


def queue(case):
    """(token ids, segment ids) of each sentence."""
    if case.about:
        return _random_queue(case.model, case.sentences, case.about[0])
    longest = case.hardware.positions
    inputs = gather(case.model, ())
    if case.sentences > len(inputs) and has_data():
        inputs = [((row.sentence,), row.label) for row in find_task("sst2", DATA).rows("dev")]
    inputs = (inputs * ceil_div(case.sentences, len(inputs)))[: case.sentences]
    tokenizer = catalog.tokenizer(case.model, longest)
    words = [
        (one.ids, one.segments) for one in encode_texts(tokenizer, inputs, longest, truncate=True)
    ]
    return [words[number] for number in case.turns]


def _random_queue(name, sentences, tokens):
    sizes = dataclasses.replace(MODELS[name], vocabulary=WORDS)
    return random_sentences(sizes, sentences, 1, tokens, tokens)


@functools.lru_cache(maxsize=1024)
def _golden(key, words):
    return of_golden(words, run(_network(*key), *words))


def simulate_case(case, watch=None):
    """The co-simulation's `Measurement` of a case."""
    if isinstance(case, Emulated):
        raise UserError(
            "The machine drops what its predictor says, not what a profile says: " + case.label
        )
    return measuring.measure_cycles(
        case_network(case),
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
    if case.live:
        entering = (case.live[0], *case.live[:-1])
        sentences = [SentenceWork(*one, entering, case.live) for one in words]
    else:
        sentences = [_golden(network_key(case), one) for one in words]
    return _modelled(network_key(case), case.hardware).measure(
        sentences, case.slots, case.latency, case.bytes_per_cycle, stalls=case.is_layer
    )
