# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face folder goes in and comes out the same; what is no plain ALBERT is refused."""

import pytest
import torch
from transformers import AlbertForSequenceClassification, AutoTokenizer

from compress.data.text_files import DataError
from compress.huggingface.exporting import export_albert
from compress.huggingface.importing import import_albert
from compress.tokens.vocabulary import albert_tokenizer
from golden_model.checkpoint import load
from golden_model.config import MODELS
from golden_model.random_model import random_checkpoint


def logits(folder, ids):
    network = AlbertForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return network(input_ids=ids).logits


def test_there_and_back(albert, vocab, tmp_path):
    """Equal logits, names of the classes, tokens."""
    albert_tokenizer(vocab).save(str(albert / "tokenizer.json"))
    import_albert(albert, tmp_path / "ours", positions=32)
    checkpoint = load(tmp_path / "ours")
    checkpoint.labels = ("bad", "fair", "good")
    export_albert(checkpoint, tmp_path / "ours" / "tokenizer.json", tmp_path / "back")
    ids = torch.tensor([[2, 11, 12, 13, 3]])
    assert torch.equal(logits(tmp_path / "back", ids), logits(albert, ids))
    config = AlbertForSequenceClassification.from_pretrained(tmp_path / "back").config
    assert config.id2label == {0: "bad", 1: "fair", 2: "good"}
    found = AutoTokenizer.from_pretrained(tmp_path / "back")("a good film")["input_ids"]
    assert found == albert_tokenizer(vocab).encode("a good film").ids


def test_refuses_what_albert_has_not(tmp_path):
    checkpoint = random_checkpoint(MODELS["nano"], seed=1)
    with pytest.raises(DataError, match="it drops tokens .*, has attention spans, leaves early"):
        export_albert(checkpoint, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_albert(checkpoint.dense(), None, tmp_path / "out")
    with pytest.raises(DataError, match="must be a folder that is not there yet"):
        export_albert(checkpoint.dense(), None, tmp_path / "out")
