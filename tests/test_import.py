# SPDX-License-Identifier: Apache-2.0
"""`terse import`: random ALBERTs through reading, twin, pruning, rounding, compiler, command."""

import dataclasses
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.huggingface import importing
from compress.huggingface.albert import hardware_for_albert, read_albert
from compress.huggingface.importing import import_albert, round_weights
from compress.huggingface.twin import eager
from compress.prune import EMBEDDING, ENCODER_WEIGHTS
from firmware.compiler import compile_network
from golden_model.checkpoint import load
from golden_model.config import AF8, INT8, NumberFormat
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_sentences
from golden_model.reference import Reference
from terse import cli
from tests.albert import save_albert

BASE = dict(
    vocab_size=30000,
    embedding_size=128,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
    num_labels=2,
)


# Good checkpoints.


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_float_twin_is_eager(tmp_path, activation):
    folder = save_albert(tmp_path / "albert", hidden_act=activation)
    imported = import_albert(folder, tmp_path / "out")
    checkpoint = load(tmp_path / "out")
    ours = "gelu" if activation == "gelu" else "gelu_new"
    assert checkpoint.model.activation == ours and imported.metrics["twin_difference"] < 1e-9
    theirs, reference = eager(read_albert(folder)), Reference(checkpoint)
    for tokens, segments in random_sentences(checkpoint.model, 5, seed=3):
        ours = torch.tensor(reference.run(tokens, segments).logits)
        assert float((ours - theirs(tokens, segments)).abs().max()) < 1e-5
        assert segments.sum() == 0 or not torch.allclose(
            theirs(tokens, segments), theirs(tokens, 0 * segments), atol=1e-4
        )


@pytest.mark.parametrize("fmt", [AF8, INT8])
def test_golden_is_near(tmp_path, albert, fmt):
    import_albert(albert, tmp_path / "out", fmt=fmt)
    checkpoint = load(tmp_path / "out")
    network = quantize(checkpoint, fmt)
    reference = Reference(checkpoint)
    theirs = eager(read_albert(albert))
    for tokens, segments in random_sentences(checkpoint.model, 4, seed=4):
        result = run(network, tokens, segments)
        logits = torch.tensor(result.logits) * 2.0 ** -network.frac["logits"]
        for near in (
            torch.tensor(reference.run(tokens, segments).logits),
            theirs(tokens, segments),
        ):
            assert float((logits - near).abs().max()) < 0.15 * checkpoint.ranges["logits"]
        assert result.exit_layer == 3 and result.tokens_per_layer == [len(tokens)] * 3


def test_compiles_for_hardware_without_optional_units(tmp_path, albert):
    import_albert(albert, tmp_path / "out", zeros=0.5, positions=20)
    checkpoint = load(tmp_path / "out")
    assert checkpoint.model.positions == 20
    program = compile_network(
        quantize(checkpoint, AF8), hardware_for_albert(checkpoint.model, units=frozenset())
    )
    names = {symbol.tensor for symbol in program.symbols if symbol}
    assert "layer{l}.keep" not in names and not program.early_exit


def test_pruned_and_rounded(tmp_path, albert):
    metrics = import_albert(albert, tmp_path / "out", zeros=0.6, fmt=AF8).metrics
    checkpoint = load(tmp_path / "out")
    for name in ENCODER_WEIGHTS + EMBEDDING:
        assert float((checkpoint[name] == 0).float().mean()) == pytest.approx(0.6, abs=0.01)
    assert metrics["encoder_sparsity"] == pytest.approx(0.6, abs=0.01)
    again = round_weights(checkpoint.tensors, checkpoint.model, AF8)
    assert all(torch.equal(again[name], checkpoint[name]) for name in again)
    dense, tokens = Reference(checkpoint.dense()), torch.arange(9)
    want = eager(read_albert(albert))(tokens, 0 * tokens)
    assert float((torch.tensor(dense.run(tokens).logits) - want).abs().max()) < 1e-5


@pytest.mark.parametrize("fmt", [AF8, INT8, NumberFormat(6, 2)])
def test_rounding_keeps_codes_and_biases(albert, fmt):
    """Heads of 16, 24 and 48 features, the largest weight at a power of two.

    sqrt(24) and sqrt(48) are not exact in float32.
    """
    albert = read_albert(albert)
    for heads in (1, 2, 3):
        model = dataclasses.replace(albert.model, heads=heads)
        tensors = importing._complete(albert.tensors(), model)
        tensors["attention.query.weight"] *= (
            0.505 * model.head**0.5 / tensors["attention.query.weight"].abs().max()
        )
        ranges = dict.fromkeys(
            importing.calibrate(importing.Checkpoint(model, tensors), random_sentences(model, 1)),
            4.0,
        )
        before, after = (
            quantize(importing.Checkpoint(model, given, ranges), fmt)
            for given in (tensors, round_weights(tensors, model, fmt))
        )
        for name, linear in before.linears.items():
            assert (
                torch.equal(linear.codes, after.linears[name].codes)
                and linear.weight_bias == after.linears[name].weight_bias
            )


def test_half_precision_and_pretraining_heads(albert, tmp_path):
    tensors = {
        name: tensor.bfloat16() for name, tensor in load_file(albert / "model.safetensors").items()
    }
    tensors |= {
        "predictions.bias": torch.zeros(64),
        "albert.embeddings.position_ids": torch.arange(32)[None],
    }
    save_file(tensors, albert / "model.safetensors")
    assert import_albert(albert, tmp_path / "out").metrics["twin_difference"] < 1e-9


def test_one_segment(tmp_path):
    import_albert(save_albert(tmp_path / "albert", type_vocab_size=1), tmp_path / "out")
    checkpoint = load(tmp_path / "out")
    assert checkpoint.model.segments == 1
    compile_network(quantize(checkpoint, AF8), hardware_for_albert(checkpoint.model))


def test_base(tmp_path):
    """Random weights in albert-base-v2's geometry: the twin agrees, a sentence runs on integers."""
    folder = save_albert(tmp_path / "albert", spread=0.02, **BASE)
    metrics = import_albert(folder, tmp_path / "out", zeros=0.6).metrics
    assert metrics["twin_difference"] < 1e-9 and metrics["twin_difference_float32"] < 1e-5
    assert metrics["golden_difference"] < 0.15 * metrics["largest_logit"]
    checkpoint = load(tmp_path / "out")
    assert (checkpoint.model.layers, checkpoint.model.hidden, checkpoint.model.positions) == (
        12,
        768,
        128,
    )
    result = run(quantize(checkpoint, AF8), *random_sentences(checkpoint.model, 1, low=128)[0])
    assert result.exit_layer == 12 and len(result.tensors["layer11.rows"]) == 128


def test_labels_and_format_are_kept(tmp_path):
    """Names of id2label, unless they are transformers' own; the format that weights have."""
    names = {"0": "bad", "1": "so so", "2": "très bon"}
    folder = save_albert(tmp_path / "named", id2label=names)
    import_albert(folder, tmp_path / "out", fmt=INT8)
    checkpoint = load(tmp_path / "out")
    assert (checkpoint.labels, checkpoint.format) == (("bad", "so so", "très bon"), INT8)
    import_albert(save_albert(tmp_path / "plain"), tmp_path / "other")
    checkpoint = load(tmp_path / "other")
    assert (checkpoint.labels, checkpoint.format) == (None, AF8)


@pytest.mark.parametrize("fmt", [None, AF8])
def test_outlier_is_warned_of(tmp_path, fmt):
    """A large weight takes all steps: the others become zero, and classes change."""
    folder = save_albert(tmp_path / "albert", spread=0.3)
    notes = import_albert(folder, tmp_path / "good", fmt=fmt).notes
    assert not any("classes differ" in note for note in notes)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    words = tensors["albert.embeddings.word_embeddings.weight"]
    words[-1, 0] = 1e3 * words.abs().max()
    save_file(tensors, path)
    imported = import_albert(folder, tmp_path / "out", fmt=fmt)
    same, rows = (imported.metrics[f"golden_{name}"] for name in ("same_class", "rows"))
    assert same < rows
    warning = f"Warning: {rows - same} of {rows} classes differ between the integer model in Adapt"
    assert imported.notes[-1].startswith(warning) and "\n" not in imported.notes[-1]


# Text.


def test_sentences_vocabulary_and_pairs(tmp_path, albert, vocab):
    file = tmp_path / "pairs.tsv"
    file.write_text(
        "label\tsentence1\tsentence2\n1\ta good film\tno\n\n0\tbad\tthe film\n", encoding="utf-8"
    )
    imported = import_albert(albert, tmp_path / "out", sentences=file, vocab=vocab)
    assert imported.metrics["calibration_rows"] == 2
    assert imported.notes == [f"{file}: took sentence1 and sentence2 of 2 lines"]
    tokenizer = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None and tokenizer["model"]["vocab"][5] == ["(", 0.0]


# The command.


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["terse", *map(str, arguments)])
    try:
        cli.main()
        return 0
    except SystemExit as stop:
        return stop.code or 0


def test_command(tmp_path, albert, vocab, monkeypatch, capsys):
    """`import` of an ALBERT folder, then `golden` and `compile`; bad folders exit with 2."""
    out = tmp_path / "out"
    image = tmp_path / "a.img"
    tensors = tmp_path / "a.npz"
    assert (
        call(
            monkeypatch,
            "import",
            albert,
            "-o",
            out,
            "--vocab",
            vocab,
            "--prune",
            0.5,
            "--format",
            "af8,3",
        )
        == 0
    )
    said = capsys.readouterr()
    assert "Ranges come from random tokens" in said.err and "float twin: logits within" in said.out
    assert (
        call(monkeypatch, "golden", "a good film", "no", "--pair", "--model", out, "-o", tensors)
        == 0
    )
    assert call(monkeypatch, "compile", "--model", out, "-o", image) == 0 and image.stat().st_size
    capsys.readouterr()
    assert call(monkeypatch, "import", albert, "-o", out) == 2
    assert "must be a folder that is new or empty" in capsys.readouterr().err
    assert call(monkeypatch, "import", tmp_path, "-o", tmp_path / "b") == 2
    assert "config.json is missing" in capsys.readouterr().err
