# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
import torch
from hypothesis import settings

# The same examples in every run; a wider search is a campaign's.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")
torch.set_num_threads(1)  # tensors are small: threads cost more than they save


@pytest.fixture
def albert(tmp_path):
    """The folder of a small random classifier of transformers."""
    from tests.albert import save_albert  # takes seconds, which few tests need

    return save_albert(tmp_path / "albert")


@pytest.fixture
def vocab(tmp_path):
    """A file like ALBERT's: special pieces, symbols with score 0, scored pieces."""
    from tests.albert import write_vocabulary

    return write_vocabulary(tmp_path / "small.vocab")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a random checkpoint of nano's size that takes text."""
    from compress.tokens.pieces import train_tokenizer
    from golden_model.config import MODELS
    from golden_model.random_model import random_checkpoint

    folder = tmp_path_factory.mktemp("nano")
    text = "a film that is as good as a film can be , and no better ."
    random_checkpoint(MODELS["nano"]).save(folder)
    tokenizer = train_tokenizer([text, "one two three good bad"], 64)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "samples.tsv").write_text("sentence\tlabel\na good film .\t1\nno good\t0\n")
    return str(folder)


@pytest.fixture
def terse(capsys, monkeypatch):
    """Runs the command line in this process -> (exit status, standard output, standard error)."""
    from terse import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["terse", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
