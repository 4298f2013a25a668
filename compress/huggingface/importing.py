# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face ALBERT classifier becomes a Terse checkpoint: checked, pruned, rounded.

ALBERT has no contribution predictor, spans or off-ramps. The checkpoint says so in the terms of
docs/design.md: eta and predictors are zero (every token stays), spans are one, the off-ramp is a
copy of the model's pooler and classifier, the exit threshold is 0 (no entropy is below it). The
compiler leaves all of them out of the program, so the hardware needs none of those units.
"""

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compress.data.text_files import read_sentences
from compress.huggingface.albert import AlbertError, read_albert
from compress.huggingface.twin import eager, quiet_transformers
from compress.prune import EMBEDDING, ENCODER_WEIGHTS, magnitude_mask, sparsity
from compress.tokens.tokenizer import SentenceTokenizer
from compress.tokens.vocabulary import find_tokenizer
from golden_model.adaptivfloat import bias_for, decode, encode
from golden_model.calibrate import calibrate
from golden_model.checkpoint import Checkpoint, CheckpointError, tensor_shapes
from golden_model.config import AF8, ModelConfig, NumberFormat
from golden_model.model import run
from golden_model.network import LINEARS
from golden_model.quantize import quantize
from golden_model.random_model import random_sentences
from golden_model.reference import Reference

__all__ = ["CLASSIFIER", "TOLERANCE", "Imported", "import_albert", "prune", "round_weights"]

TOLERANCE = 1e-5  # logits of the float twin against transformers' in float64
CALIBRATION = 64  # most sentences that ranges are taken from
CHECKED = 4  # sentences that go through the twins and the golden model
RANDOM = dict(count=8, low=4)  # sentences of random tokens, where no file is given
LONGEST_RANDOM = 32
CLASSIFIER = ("pooler.weight", "pooler.bias", "classifier.weight", "classifier.bias")
TABLES = ("embedding.word", "embedding.position", "embedding.segment")


@dataclass(frozen=True)
class Imported:
    """What `import_albert` wrote, figures about it, and what the user should know."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    notes: list[str]


@quiet_transformers()
def import_albert(
    folder: str | Path,
    out: str | Path,
    *,
    sentences: str | Path | None = None,
    vocab: str | Path | None = None,
    positions: int | None = None,
    zeros: float = 0.0,
    fmt: NumberFormat | None = None,
    command: str = "",
) -> Imported:
    """Read an ALBERT classifier from `folder`, write a Terse checkpoint to `out` -> Imported.

    Parameters
    ----------
    folder : config.json, weights and maybe a tokenizer, as `save_pretrained` writes them
    out : a folder that is new or empty; it appears complete or not at all
    sentences : file of sentences for calibration (see `read_sentences`); without it, random tokens
    vocab : ALBERT's vocabulary file, for a folder without tokenizer.json
    positions : longest sentence that is kept, 4..512; default 128
    zeros : share of each matrix that magnitude pruning sets to zero (encoder, pooler, embeddings)
    fmt : NumberFormat that weights are rounded to, and that runs take; without it weights stay
        float, and runs take AdaptivFloat<8,3>
    command : what the checkpoint is to say that it was made by

    Raises AlbertError and DataError; nothing is written then.
    """
    folder, out = Path(folder), Path(out)
    if not 0 <= zeros < 1:
        raise AlbertError(f"Share of zeros must be at least 0 and below 1, not {zeros}")
    _check_out(out)
    try:
        return _import(folder, out, sentences, vocab, positions, zeros, fmt, command)
    except CheckpointError as error:
        raise AlbertError(f"{folder} cannot become a checkpoint: {error}") from error


def _import(folder, out, sentences, vocab, positions, zeros, fmt, command):
    """The same, of options that are good; CheckpointError where the contract has no such model."""
    albert = read_albert(folder, positions)
    tokenizer, notes = find_tokenizer(folder, vocab, albert.model)
    inputs = _inputs(albert.model, tokenizer, sentences, notes)
    tensors = _complete(albert.tensors(), albert.model)
    whole = Checkpoint(
        albert.model, tensors, command=command, labels=albert.labels, format=fmt or AF8
    )
    metrics = {"calibration_rows": len(inputs), **_compare_twin(albert, whole, inputs)}
    pruned = prune(tensors, zeros) if zeros else tensors
    rounded = pruned if fmt is None else round_weights(pruned, albert.model, fmt)
    checkpoint = dataclasses.replace(whole, tensors=rounded | _dense(tensors, rounded))
    checkpoint.ranges = calibrate(checkpoint, inputs)
    float_twin = Reference(dataclasses.replace(whole, tensors=pruned))
    metrics |= _compare_golden(checkpoint, float_twin, inputs, notes)
    metrics |= {
        "encoder_sparsity": sparsity(checkpoint.tensors, ENCODER_WEIGHTS),
        "embedding_sparsity": sparsity(checkpoint.tensors, EMBEDDING),
    }
    checkpoint.metrics = metrics
    _write(checkpoint, tokenizer, out)
    return Imported(checkpoint, metrics, notes)


def _inputs(model, tokenizer, sentences, notes):
    """At most CALIBRATION (tokens, segments), evenly from the file; random ones without a file."""
    if sentences is None:
        notes.append("Ranges come from random tokens; --sentences FILE takes them from real text")
        return random_sentences(model, **RANDOM, high=min(model.positions, LONGEST_RANDOM))
    if tokenizer is None:
        raise AlbertError("Sentences need a vocabulary: give --vocab")
    found, taken = read_sentences(sentences)
    notes.append(taken)
    if model.segments < 2 and any(len(text) > 1 for text in found):
        raise AlbertError(f"{sentences} holds pairs, the model has one segment")
    step = -(-len(found) // CALIBRATION)
    encode = SentenceTokenizer(tokenizer, model.positions).encode
    return [(one.ids, one.segments) for one in (encode(*text) for text in found[::step])]


# Weights.


def _complete(tensors, model):
    """Tensors with the parts that ALBERT lacks: all tokens stay, spans are full, nobody exits."""
    absent = {
        name: torch.zeros(shape)
        for name, shape in tensor_shapes(model).items()
        if name.startswith("predictor.") or name == "eta"
    }
    ramp = {f"exit.{name}": tensors[name].clone() for name in CLASSIFIER}
    return tensors | absent | ramp | {"attention.span": torch.ones(model.heads, model.positions)}


def prune(tensors: dict[str, torch.Tensor], zeros: float) -> dict[str, torch.Tensor]:
    """Tensors with the smallest `zeros` of each encoder, pooler and embedding matrix set to 0."""
    return tensors | {
        name: tensors[name] * magnitude_mask(tensors[name], zeros)
        for name in ENCODER_WEIGHTS + EMBEDDING
    }


def round_weights(
    tensors: dict[str, torch.Tensor], model: ModelConfig, fmt: NumberFormat
) -> dict[str, torch.Tensor]:
    """Tensors with every weight and embedding at its nearest value of `fmt`.

    The machine rounds query / sqrt(head), so that is what is rounded here; `quantize` finds the
    same codes and biases again.
    """
    rounded = dict(tensors)
    for name in (*TABLES, *(f"{linear}.weight" for linear in LINEARS)):
        factor = model.head**0.5 if name == "attention.query.weight" else 1.0
        weight = tensors[name].double() / factor
        bias = bias_for(weight.abs().max(), fmt)
        weight = decode(encode(weight, bias, fmt), bias, fmt)
        stored = (weight * factor).float()
        # Float32 must not take the largest value below a power of two: its bias would change.
        low = (stored.double() / factor).abs() < weight.abs()
        rounded[name] = torch.where(low, torch.nextafter(stored, 2 * stored), stored)
    return rounded


def _dense(before, after):
    """{dense.NAME: tensor} of what compression changed."""
    return {
        f"dense.{name}": tensor.clone()
        for name, tensor in before.items()
        if not torch.equal(tensor, after[name])
    }


# Comparisons.


def _compare_twin(albert, checkpoint, inputs):
    """Largest difference of logits to transformers', refused if above TOLERANCE.

    Float64 decides: it shows whether the networks are the same, not how float32 rounds.
    """
    model = checkpoint.model
    length = min(model.positions, LONGEST_RANDOM)
    pair = random_sentences(model, 1, low=length, high=length)  # so that segments are compared
    inputs = [*inputs[:: -(-len(inputs) // CHECKED)], *pair]
    reference = Reference(checkpoint)
    ours = [torch.tensor(reference.run(*one).logits, dtype=torch.float64) for one in inputs]
    metrics = {}
    for name, dtype in (
        ("twin_difference", torch.float64),
        ("twin_difference_float32", torch.float32),
    ):
        theirs = eager(albert, dtype)
        metrics[name] = max(
            float((a - theirs(*one).double()).abs().max())
            for a, one in zip(ours, inputs, strict=True)
        )
    if not metrics["twin_difference"] <= TOLERANCE:
        raise AlbertError(
            f"Logits must agree with transformers' within {TOLERANCE}, they differ "
            f"by {metrics['twin_difference']:.2e}: Terse computes another network"
        )
    return metrics


def _compare_golden(checkpoint, float_twin, inputs, notes):
    """The integer model against the pruned float one, on a few of the inputs.

    Adds a note where rounding changes a class: an outlier weight takes the steps from all others.
    """
    try:
        network = quantize(checkpoint, checkpoint.format)
    except CheckpointError as error:
        raise AlbertError(f"Model cannot be quantized to {checkpoint.format}: {error}") from error
    inputs = inputs[:: -(-len(inputs) // CHECKED)]
    worst, different, saturations = 0.0, 0, 0
    for one in inputs:
        golden, plain = run(network, *one), float_twin.run(*one)
        logits = torch.tensor(golden.logits) * 2.0 ** -network.frac["logits"]
        worst = max(worst, float((logits - torch.tensor(plain.logits)).abs().max()))
        different += golden.predicted_class != plain.predicted_class
        saturations += golden.saturations
    if different:
        notes.append(
            f"Warning: {different} of {len(inputs)} classes differ between the integer model in "
            f"{checkpoint.format} and the float model, logits by up to {worst:.3g} of "
            f"{checkpoint.ranges['logits']:.3g}; look for outlier weights, or try another --format"
        )
    return {
        "golden_format": str(checkpoint.format),
        "golden_rows": len(inputs),
        "golden_same_class": len(inputs) - different,
        "golden_difference": worst,
        "golden_saturations": saturations,
        "largest_logit": checkpoint.ranges["logits"],
    }


# Files.


def _check_out(out):
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlbertError(f"{out} must be a folder that is new or empty")


def _write(checkpoint, tokenizer, out):
    """The folder appears complete: it is made beside its place and renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as holder:
        whole = Path(holder) / "checkpoint"
        checkpoint.save(whole)
        if tokenizer is not None:
            tokenizer.no_truncation()
            tokenizer.save(str(whole / "tokenizer.json"))
        os.replace(whole, out)
