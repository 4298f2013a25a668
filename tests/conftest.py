# SPDX-License-Identifier: Apache-2.0
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
