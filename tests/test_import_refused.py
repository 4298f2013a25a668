# SPDX-License-Identifier: Apache-2.0
"""`terse import` refuses in one line what the machine does not compute, and writes nothing then."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.huggingface import importing
from compress.huggingface.albert import AlbertError
from compress.huggingface.importing import import_albert
from compress.tokens.tokenizer import SPECIAL


def refused(tmp_path, folder, message, **options):
    """The import fails with this message and leaves nothing behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AlbertError, match=message) as caught:
        import_albert(folder, tmp_path / "out", **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "bert"}, "model_type must be 'albert', not 'bert'"),
        (
            {"architectures": ["AlbertForMaskedLM"]},
            "must name AlbertForSequenceClassification .*, not 'AlbertForMaskedLM'",
        ),
        ({"architectures": 5}, "architectures must be a list of names, not 5"),
        ({"architectures": {}}, r"architectures must be a list of names, not \{\}"),
        ({"architectures": [None]}, r"architectures must be a list of names, not \[None\]"),
        ({"model_type": ["albert"]}, r"model_type must be 'albert', not \['albert'\]"),
        ({"dtype": []}, "transformers does not take it, IndexError"),
        ({"id2label": []}, "transformers does not take it, AttributeError"),
        ({"id2label": {"a": "b"}}, "transformers does not take it, ValueError"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, "id2label must name the classes 0..2, not"),
        ({"id2label": {"0": "a", "1": 1, "2": "c"}}, "id2label must name the classes 0..2, not"),
        ({"problem_type": "multi_label_classification"}, "problem_type must be single_label_class"),
        ({"num_labels": 2**31}, r"num_labels must be 2\.\.16, not 2147483648"),
        ({"num_labels": 10**400}, r"num_labels must be 2\.\.16, not 1000.*"),
        ({"problem_type": "regression"}, "problem_type must be .*softmax.*, not 'regression'"),
        ({"problem_type": 3}, "problem_type must be single_label_.*, not 3"),
        ({"id2label": {"0": "a"}}, "num_labels must be 2..16 .one label is a regression., not 1"),
        ({"max_position_embeddings": 3}, "max_position_embeddings must be at least 4, not 3"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps"),
        ({"pad_token_id": 64}, "transformers cannot build this model, AssertionError: Padding_idx"),
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
        ({"hidden_size": 40}, "Hidden must be a multiple of 16, not 40; nearest: 48"),
        ({"intermediate_size": 32768}, "Feed_forward must be in 16..16384, not 32768"),
        (
            {"embedding_size": 2048},
            "Hardware embedding must be in 2..1024, not 2048; nearest: 1024",
        ),
        ({"num_hidden_layers": 60}, "Hardware layers must be in 1..48, not 60"),
        ({"id2label": {str(i): str(i) for i in range(20)}}, "Classes must be in 2..16, not 20"),
        ({"num_attention_heads": 5}, "Heads must divide hidden 48, not 5; nearest: 4"),
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
    """Damaged and missing files are refused, each with its own message."""
    weights, config = albert / "model.safetensors", albert / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    for size in (0, 100, len(whole) - 1000):
        weights.write_bytes(whole[:size])
        refused(tmp_path, albert, "model.safetensors cannot be read, it is damaged or truncated")
    weights.unlink()
    refused(tmp_path, albert, "model.safetensors is missing")
    weights.write_bytes(whole)
    for bad, message in (
        (text[:50], "must be JSON"),
        ("[]", r"must be a JSON object, not \[\]"),
        ("[" * 100_000, "must be JSON, it is nested too deeply"),
        (text[:-2] + ', "x": ' + "[" * 900 + "]" * 900 + "}", "RecursionError"),
    ):
        config.write_text(bad)
        refused(tmp_path, albert, message)
    config.unlink()
    refused(tmp_path, albert, "config.json is missing")


def test_bad_tensors(tmp_path, albert):
    """Tensors that are not finite floats, unknown or missing are refused."""
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


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    ],
    ids=["sparse", "meta", "quantized"],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_tensors_without_numbers(tmp_path, albert, change):
    """A pickle's tensor may have no storage of its own."""
    path = albert / "model.safetensors"
    name = "albert.pooler.weight"
    tensors = load_file(path)
    torch.save(tensors | {name: change(tensors[name])}, albert / "pytorch_model.bin")
    path.unlink()
    refused(tmp_path, albert, "pytorch_model.bin")


def test_tensors_too_large_for_a_checkpoint(tmp_path, albert):
    path = albert / "model.safetensors"
    tensors = load_file(path)
    tensors["classifier.bias"] += 1e20
    save_file(tensors, path)
    refused(tmp_path, albert, "albert cannot become a checkpoint: Tensor classifier.bias must be")


def test_shard_with_a_name_that_no_file_has(tmp_path, albert):
    (albert / "model.safetensors").unlink()
    index = {"weight_map": {"classifier.bias": "x" * 5000}}
    (albert / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(tmp_path, albert, "names the file 'xxx.*', it is missing")


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk_size_feed_forward": "0"},
        {"chunk_size_feed_forward": 64},
        {"output_hidden_states": 0.5},
        {"output_hidden_states": ["x"]},
    ],
)
def test_what_changes_no_logit_is_left_out(tmp_path, albert, changes, capfd):
    """Transformers trips over these in its forward, or says many lines."""
    path = albert / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    import_albert(albert, tmp_path / "out")
    assert capfd.readouterr().err == ""


def test_bad_options(tmp_path, albert, vocab):
    """Options out of range and vocabularies that do not fit are refused."""
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
    monkeypatch.setattr(importing, "eager", lambda *_: lambda tokens, segments: torch.zeros(3))
    refused(
        tmp_path,
        albert,
        r"Logits must agree with transformers' within 1e-05, they differ by .*: Terse computes",
    )
