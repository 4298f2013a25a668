# SPDX-License-Identifier: Apache-2.0
"""The bits of every named tensor, pinned: random models by seed, the shipped one on real sentences.
`python -m tests.test_hashes` writes hashes.json anew, which is right only when a
rounding was changed on purpose.
"""

import hashlib
import json
import pathlib

import pytest

from compress.tokens import tokenizer
from golden_model.checkpoint import load
from golden_model.config import AF8, INT8, MODELS
from golden_model.model import run
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint, random_sentences

HASHES = pathlib.Path(__file__).with_name("hashes.json")
TINY = pathlib.Path(__file__).parents[1] / "examples" / "tiny"
CASES = {"nano-af8": ("nano", AF8, "gelu_new"), "nano-int8": ("nano", INT8, "gelu"), "tiny": None}


def digest(tensor):
    data = tensor.contiguous().numpy().astype("<i8").tobytes()
    return hashlib.sha256(str(tuple(tensor.shape)).encode() + data).hexdigest()


def hashes(case):
    """{"sentence.tensor": sha256 of its shape and int64 values}."""
    network, sentences = _tiny() if case == "tiny" else _random(case)
    return {
        f"{index}.{key}": digest(tensor)
        for index, (tokens, segments) in enumerate(sentences)
        for key, tensor in run(network, tokens, segments).tensors.items()
    }


def _tiny():
    """The shipped model, and three of its sample sentences of different lengths."""
    lines = (TINY / "samples.tsv").read_text().splitlines()[1:]
    encode = tokenizer.load_tokenizer(TINY / "tokenizer.json").encode
    texts = sorted((line.split("\t")[0] for line in lines), key=len)[::24]
    encoded = [encode(text) for text in texts]
    return quantize(load(TINY), AF8), [(one.ids, one.segments) for one in encoded]


def _random(case):
    name, fmt, activation = CASES[case]
    model = MODELS[name]
    model = type(model)(**(model.to_json() | {"activation": activation}))
    network = quantize(random_checkpoint(model, seed=11, dead_heads=1, exit_threshold=0.6), fmt)
    return network, random_sentences(model, 3, seed=12)


@pytest.mark.parametrize("case", CASES)
def test_bits_have_not_changed(case):
    want, got = json.loads(HASHES.read_text())[case], hashes(case)
    assert list(got) == list(want)
    changed = [key for key in want if got[key] != want[key]]
    assert not changed, f"first tensor that changed: {changed[0]}"


if __name__ == "__main__":
    HASHES.write_text(json.dumps({case: hashes(case) for case in CASES}, indent=1) + "\n")
