# SPDX-License-Identifier: Apache-2.0
"""`terse import`: random ALBERTs of transformers through reading, twin, pruning, rounding, compiler; and what is refused."""

import dataclasses
import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AlbertConfig, AlbertForSequenceClassification, AlbertTokenizer

from compress import import_hf
from compress.huggingface import AlbertError, eager, hardware_for, read
from compress.import_hf import import_albert, round_weights
from compress.prune import EMBEDDING, ENCODER
from compress.tokenizer import SPECIAL, SentenceTokenizer, albert_tokenizer
from firmware.compiler import compile_network
from golden_model.checkpoint import load
from golden_model.config import AF8, INT8, NumberFormat
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_sentences
from golden_model.reference import Reference
from terse import cli

SMALL = dict(
    vocab_size=64,
    embedding_size=16,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=96,
    max_position_embeddings=32,
    num_labels=3,
)
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
PIECES = [
    "(",
    ")",
    '"',
    "-",
    ".",
    "▁",
    "▁a",
    "▁good",
    "▁film",
    "▁bad",
    "▁the",
    "s",
    "▁no",
    "t",
    "e",
    "!",
    "▁go",
    "od",
    "fi",
    "lm",
]


def save_albert(folder, seed=0, spread=0.1, **changes):
    """A random classifier as `save_pretrained` writes it; biases and LayerNorms are random too."""
    torch.manual_seed(seed)
    network = AlbertForSequenceClassification(
        AlbertConfig(**SMALL | {"initializer_range": spread} | changes)
    )
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    return folder


@pytest.fixture
def albert(tmp_path):
    return save_albert(tmp_path / "albert")


@pytest.fixture
def vocab(tmp_path):
    """A file like ALBERT's: special pieces, symbols with score 0, scored pieces."""
    path = tmp_path / "small.vocab"
    lines = [f"{piece}\t0" for piece in (*SPECIAL, *PIECES[:5])] + [
        f"{piece}\t{-1 - i / 4}" for i, piece in enumerate(PIECES[5:])
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# Good checkpoints.


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_float_twin_is_eager(tmp_path, activation):
    folder = save_albert(tmp_path / "albert", hidden_act=activation)
    imported = import_albert(folder, tmp_path / "out")
    checkpoint = load(tmp_path / "out")
    assert checkpoint.model.activation == activation and imported.metrics["twin_difference"] < 1e-9
    theirs, reference = eager(read(folder)), Reference(checkpoint)
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
    theirs = eager(read(albert))
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
        quantize(checkpoint, AF8), hardware_for(checkpoint.model, units=frozenset())
    )
    names = {symbol.tensor for symbol in program.symbols if symbol}
    assert "layer{l}.keep" not in names and not program.early_exit


def test_pruned_and_rounded(tmp_path, albert):
    metrics = import_albert(albert, tmp_path / "out", zeros=0.6, fmt=AF8).metrics
    checkpoint = load(tmp_path / "out")
    for name in ENCODER + EMBEDDING:
        assert float((checkpoint[name] == 0).float().mean()) == pytest.approx(0.6, abs=0.01)
    assert metrics["encoder_sparsity"] == pytest.approx(0.6, abs=0.01)
    again = round_weights(checkpoint.tensors, checkpoint.model, AF8)
    assert all(torch.equal(again[name], checkpoint[name]) for name in again)
    dense, tokens = Reference(checkpoint.dense()), torch.arange(9)
    want = eager(read(albert))(tokens, 0 * tokens)
    assert float((torch.tensor(dense.run(tokens).logits) - want).abs().max()) < 1e-5


@pytest.mark.parametrize("fmt", [AF8, INT8, NumberFormat(6, 2)])
def test_rounding_keeps_codes_and_biases(albert, fmt):
    """Heads of 16, 24 and 48 features, the largest weight at a power of two: sqrt(24) and sqrt(48) are not exact in float32."""
    albert = read(albert)
    for heads in (1, 2, 3):
        model = dataclasses.replace(albert.model, heads=heads)
        tensors = import_hf._complete(albert.tensors(), model)
        tensors["attention.query.weight"] *= (
            0.505 * model.head**0.5 / tensors["attention.query.weight"].abs().max()
        )
        ranges = dict.fromkeys(
            import_hf.calibrate(import_hf.Checkpoint(model, tensors), random_sentences(model, 1)),
            4.0,
        )
        before, after = (
            quantize(import_hf.Checkpoint(model, given, ranges), fmt)
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
    compile_network(quantize(checkpoint, AF8), hardware_for(checkpoint.model))


def test_base(tmp_path):
    """The geometry of albert-base-v2 with random weights: the twin agrees, one sentence runs on integers, the compiler takes it."""
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


# Text.


def test_vocabulary_gives_transformers_pieces(vocab):
    pieces = [line.split("\t") for line in vocab.read_text(encoding="utf-8").splitlines()]
    theirs = AlbertTokenizer(vocab=[(piece, float(score)) for piece, score in pieces])
    ours = SentenceTokenizer(albert_tokenizer(vocab), 32)
    for text in ("A good film.", "the  ``Gööd'' film-s!", "no (bad) 鯨", "not"):
        for pair in (None, "bad film"):
            want = theirs(text, pair, return_token_type_ids=True)
            got = ours.encode(text, pair)
            assert (got.ids, got.segments) == (want["input_ids"], want["token_type_ids"])


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


def test_own_tokenizer_wins(tmp_path, albert, vocab):
    albert_tokenizer(vocab).save(str(albert / "tokenizer.json"))
    imported = import_albert(albert, tmp_path / "out", vocab=vocab)
    assert (
        tmp_path / "out" / "tokenizer.json"
    ).is_file() and "--vocab is not used" in imported.notes[0]


# What is refused.


def refused(tmp_path, folder, message, **options):
    """The import fails with this message and leaves nothing behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AlbertError, match=message):
        import_albert(folder, tmp_path / "out", **options)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "bert"}, "model_type must be 'albert', not 'bert'"),
        (
            {"architectures": ["AlbertForMaskedLM"]},
            "must name AlbertForSequenceClassification .*, not 'AlbertForMaskedLM'",
        ),
        ({"num_hidden_groups": 3}, "num_hidden_groups must be 1, not 3"),
        ({"inner_group_num": 2}, "inner_group_num must be 1, not 2"),
        (
            {"hidden_act": "relu"},
            "hidden_act must be gelu or gelu_new or gelu_pytorch_tanh, not 'relu'",
        ),
        ({"type_vocab_size": 4}, "type_vocab_size must be 1 or 2, not 4"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type must be absolute, not 'relative_key'",
        ),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps must be at most 1e-12"),
        ({"hidden_size": "big"}, "hidden_size.* expected int"),
        (
            {"hidden_size": 8192},
            "No hardware holds this model: Hidden must be in 16..4096, not 8192",
        ),
        ({"hidden_size": 40}, "Hidden must be a multiple of 16, not 40"),
        ({"intermediate_size": 32768}, "Feed_forward must be in 16..16384, not 32768"),
        (
            {"embedding_size": 2048},
            "Hardware embedding must be in 2..1024, not 2048; nearest: 1024",
        ),
        ({"num_hidden_layers": 60}, "Hardware layers must be in 1..48, not 60"),
        ({"id2label": {str(i): str(i) for i in range(20)}}, "Classes must be in 2..16, not 20"),
        ({"num_attention_heads": 5}, "Heads must divide hidden 48, not 5"),
        (
            {"vocab_size": 70},
            r"word_embeddings.weight must have shape \(70, 16\) by config.json, not \(64, 16\)",
        ),
    ],
)
def test_bad_config(tmp_path, albert, changes, message):
    path = albert / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(tmp_path, albert, message)


def test_bad_files(tmp_path, albert):
    weights, config = albert / "model.safetensors", albert / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    for size in (0, 100, len(whole) - 1000):
        weights.write_bytes(whole[:size])
        refused(tmp_path, albert, "model.safetensors cannot be read, it is damaged or truncated")
    weights.unlink()
    refused(tmp_path, albert, "model.safetensors is missing")
    weights.write_bytes(whole)
    for bad, message in ((text[:50], "must be JSON"), ("[]", r"must be a JSON object, not \[\]")):
        config.write_text(bad)
        refused(tmp_path, albert, message)
    config.unlink()
    refused(tmp_path, albert, "config.json is missing")


def test_bad_tensors(tmp_path, albert):
    path = albert / "model.safetensors"
    tensors = load_file(path)
    name = "albert.pooler.weight"
    for change, message in (
        ({name: tensors[name] * float("nan")}, f"{name} must hold finite floats"),
        ({name: tensors[name].int()}, f"{name} must hold finite floats"),
        (
            {"lora.weight": torch.zeros(2)},
            "only tensors of AlbertForSequenceClassification, not 'lora.weight'",
        ),
    ):
        save_file(tensors | change, path)
        refused(tmp_path, albert, message)
    save_file({key: tensor for key, tensor in tensors.items() if key != "classifier.weight"}, path)
    refused(tmp_path, albert, "must have the tensor classifier.weight, it is missing")


def test_bad_options(tmp_path, albert, vocab):
    refused(tmp_path, albert, "Share of zeros must be at least 0 and below 1, not 1", zeros=1.0)
    for positions in (3, 33):
        refused(
            tmp_path, albert, f"Positions must be in 4..32, not {positions}", positions=positions
        )
    refused(tmp_path, albert, "Sentences need a vocabulary: give --vocab", sentences=vocab)
    for line in (b"a\tb\n", b"a\n", b"a\tnan\n", b"\xff\t-1\n"):
        vocab.write_bytes(line)
        refused(
            tmp_path,
            albert,
            "line 1: must be a piece, a tab and its log probability in UTF-8",
            vocab=vocab,
        )
    vocab.write_text("a\t-1\n")
    refused(tmp_path, albert, "must begin with <pad>, <unk>", vocab=vocab)
    vocab.write_text("\n".join(f"{piece}\t0" for piece in (*SPECIAL, *map(str, range(70)))))
    refused(
        tmp_path,
        albert,
        "must have at most the 64 pieces of the word embedding, not 75",
        vocab=vocab,
    )
    (albert / "tokenizer.json").write_text("{}")
    refused(tmp_path, albert, "tokenizer.json cannot be read")


def test_full_folder_is_left_alone(tmp_path, albert):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    refused(tmp_path, albert, "must be a folder that is new or empty")
    assert (tmp_path / "out" / "mine").read_text() == "x"


def test_another_network_is_refused(tmp_path, albert, monkeypatch):
    monkeypatch.setattr(import_hf, "eager", lambda *_: lambda tokens, segments: torch.zeros(3))
    refused(
        tmp_path,
        albert,
        r"Logits must agree with transformers' within 1e-05, they differ by .*: Terse computes another network",
    )


# The command.


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["terse", *map(str, arguments)])
    try:
        cli.main()
        return 0
    except SystemExit as stop:
        return stop.code or 0


def test_command(tmp_path, albert, vocab, monkeypatch, capsys):
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
