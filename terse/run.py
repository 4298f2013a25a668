# SPDX-License-Identifier: Apache-2.0
"""`terse run`: sentences through golden model and RTL, and what came out."""

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from firmware.compiler import CompileError
from firmware.record import Record
from golden_model.checkpoint import Checkpoint
from golden_model.config import NumberFormat
from golden_model.model import NEVER
from golden_model.model import run as run_golden
from golden_model.network import Network
from terse import catalog
from terse.errors import UserError
from terse.text import Sentence, encode_texts, gather

__all__ = ["Report", "SentenceReport", "golden_tensors", "prepare", "run_texts", "sentence_report"]


@dataclass(frozen=True)
class SentenceReport:
    """One row of the table; layers count from 1.

    label, prediction : classes; label_name, prediction_name : their names, if the model has them
    cycles : None when the run stopped before the sentence was through
    """

    text: str
    label: int | None
    label_name: str | None
    prediction: int
    prediction_name: str | None
    confidence: float
    logits: list[float]
    exit_layer: int
    tokens: list[str]
    dropped_at_layer: list[int | None]
    tokens_per_layer: list[int]
    entropy_per_layer: list[float]
    cycles: int | None
    match: bool


@dataclass(frozen=True)
class Report:
    """What `terse run` shows; its fields are those of the JSON file, and what went wrong.

    format : number format of weights and array operands
    jobs : queues, each in a process of its own
    counters : of the hardware, by name, if it has them
    failures, names, notes : differences, names of compared tensors, what a user should know
    """

    model: str
    hw: str
    format: str
    jobs: int
    bit_exact: bool
    tensors_compared: int
    elements_compared: int
    cycles_per_second: float
    total_cycles: int
    sentences: list[SentenceReport]
    failures: list[str]
    names: tuple[str, ...]
    notes: list[str]
    counters: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` writes."""
        left_out = ("failures", "names", "notes", "sentences")
        kept = {key: value for key, value in vars(self).items() if key not in left_out}
        return kept | {"sentences": [vars(sentence) for sentence in self.sentences]}


def prepare(
    model: str,
    texts: Sequence[str],
    pair: bool = False,
    count: int | None = None,
    positions: int | None = None,
    truncate: bool = False,
) -> tuple[Checkpoint, list[Sentence], list[str]]:
    """(checkpoint, sentences as tokens, what the user should know about them).

    positions : longest sentence of the hardware; that of the model is kept too
    """
    checkpoint = catalog.checkpoint(model)
    longest = min(checkpoint.model.positions, positions or checkpoint.model.positions)
    inputs = gather(model, texts, pair, count)
    sentences = encode_texts(catalog.tokenizer(model, longest), inputs, longest, truncate)
    notes = [
        f"Text {number}: {remark}"
        for number, sentence in enumerate(sentences, 1)
        for remark in sentence.remarks
    ]
    return checkpoint, sentences, notes


def run_texts(
    texts: Sequence[str] = (),
    model: str = "tiny",
    hw: str = "ci",
    pair: bool = False,
    count: int | None = None,
    slots: int | None = None,
    trace: str | pathlib.Path | None = None,
    truncate: bool = False,
    watch: Callable[..., None] | None = None,
    jobs: int = 1,
    fmt: NumberFormat | None = None,
    settings: Sequence[str] = (),
) -> Report:
    """Sentences through golden model and RTL, as one queue or `jobs` at a time.

    Parameters
    ----------
    texts, pair, count, truncate : as in `terse.text`
    model, hw : names, or the folder of a checkpoint
    slots : sentences resident at once
    trace : folder for the waveform of a single sentence
    watch : as in `sim.proof.check.check`
    fmt : number format, by default the one that the model was made for
    settings : changes of the hardware's parameters, as T=8
    """
    config = catalog.hardware(hw, settings)
    if slots is not None and not 1 <= slots <= config.slots:
        raise UserError(f"--slots must be in 1..{config.slots}, the slots of {hw}, not {slots}")
    checkpoint, sentences, notes = prepare(model, texts, pair, count, config.positions, truncate)
    _check_counts(sentences, trace, jobs)
    network = catalog.network(model, checkpoint, fmt)
    config, remarks = catalog.hardware_for(network.fmt, hw, settings)
    wave = None
    if trace is not None:
        wave = pathlib.Path(trace) / f"{pathlib.Path(model).name}_{hw}.vcd.gz"
        remarks.append(f"Waveform: {wave}")
    from sim.proof.parallel import check_parallel

    words = [(sentence.ids, sentence.segments) for sentence in sentences]
    try:
        outcome = check_parallel(network, config, words, jobs, slots, wave, watch)
    except CompileError as error:
        raise catalog.does_not_fit(model, hw, network, config, error) from error
    rows = [
        sentence_report(
            sentence,
            outcome.goldens[i],
            outcome.records[i] if outcome.records else None,
            i not in outcome.failed and -1 not in outcome.failed,
            network,
            checkpoint.labels,
        )
        for i, sentence in enumerate(sentences)
    ]
    return Report(
        model=model,
        hw=hw,
        format=str(network.fmt),
        jobs=jobs,
        bit_exact=outcome.bit_exact,
        tensors_compared=outcome.tensors,
        elements_compared=outcome.elements,
        cycles_per_second=outcome.cycles / outcome.seconds if outcome.seconds else 0.0,
        total_cycles=outcome.cycles,
        sentences=rows,
        failures=outcome.failures,
        names=outcome.names,
        notes=notes + remarks,
        counters=outcome.counters,
    )


def _check_counts(sentences, trace, jobs):
    """Raise UserError where there are too many sentences for a waveform, too few for the jobs."""
    if trace is not None and len(sentences) != 1:
        raise UserError(
            f"--trace writes the waveform of a single sentence, not of {len(sentences)}; "
            "give one TEXT or --sentences 1"
        )
    if not 1 <= jobs <= len(sentences):
        raise UserError(
            f"--jobs must be in 1..{len(sentences)}, the number of sentences, not {jobs}"
        )


def sentence_report(
    sentence: Sentence,
    golden: Any,
    record: Record | None,
    match: bool,
    network: Network,
    labels: Sequence[str] | None,
) -> SentenceReport:
    """The row of a sentence: what golden says, and the cycles of the machine's record."""
    scale = 2.0 ** -network.frac["logits"]
    logits = [value * scale for value in golden.logits]
    return SentenceReport(
        text=sentence.text,
        label=sentence.label,
        label_name=labels[sentence.label] if labels and sentence.label is not None else None,
        prediction=golden.predicted_class,
        prediction_name=labels[int(golden.predicted_class)] if labels else None,
        confidence=float(torch.tensor(logits).softmax(0).max()),
        logits=logits,
        exit_layer=golden.exit_layer,
        tokens=list(sentence.pieces),
        dropped_at_layer=[
            None if layer == NEVER else layer + 1 for layer in golden.dropped_at_layer
        ],
        tokens_per_layer=list(golden.tokens_per_layer),
        entropy_per_layer=[value / 2**16 for value in golden.entropies],
        cycles=record.cycles if record else None,
        match=record is not None and match,
    )


def golden_tensors(
    texts: Sequence[str],
    model: str = "tiny",
    pair: bool = False,
    count: int | None = None,
    truncate: bool = False,
    fmt: NumberFormat | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """(arrays for `terse golden`, what a user should know).

    "I/NAME" is a tensor of sentence I, "I/NAME.format" its fraction bits or meaning; "I/tokens" and
    "I/segments" went in. `fmt` is as in `run`.
    """
    checkpoint, sentences, notes = prepare(model, texts, pair, count, truncate=truncate)
    network = catalog.network(model, checkpoint, fmt)
    arrays: dict[str, Any] = {}
    for i, sentence in enumerate(sentences):
        result = run_golden(network, sentence.ids, sentence.segments)
        arrays[f"{i}/tokens"] = np.array(sentence.ids)
        arrays[f"{i}/segments"] = np.array(sentence.segments)
        for name, tensor in result.tensors.items():
            arrays[f"{i}/{name}"] = tensor.numpy()
            arrays[f"{i}/{name}.format"] = tensor_format(network, name)
    return arrays, notes


def tensor_format(network, name):
    """A tensor's format as text."""
    plain = name.partition(".")[2] or name
    special = {
        "predict_exp": "unsigned Q1.16",
        "keep": "0 or 1",
        "rows": "original position",
        "entropy": "unsigned Q2.16, nats",
        "numerator": f"codes of {network.fmt}, exponent bias {network.code_bias['numerator']}",
        "denominator": "sum of decoded numerators",
        "feed_forward_norm": f"ACT, {network.frac['x']} fraction bits",
    }
    return special.get(plain) or f"ACT, {network.frac[plain]} fraction bits"
