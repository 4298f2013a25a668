# SPDX-License-Identifier: Apache-2.0
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden_model.softmax import numerator
from golden_model.token_drop import keep, keep_float


@given(st.lists(st.integers(0, 2**16), min_size=1, max_size=64), st.integers(0, 2**16))
def test_rule(e, eta):
    want = [int(i == 0 or len(e) * x * 2**16 >= eta * sum(e)) for i, x in enumerate(e)]
    assert keep(torch.tensor(e), eta).tolist() == want


def test_equality_keeps():
    assert keep(torch.tensor([7, 7, 7]), 2**16).tolist() == [1, 1, 1]
    assert keep(torch.tensor([7, 6, 8]), 2**16).tolist() == [1, 0, 1]


def test_cls_stays_and_eta_zero_keeps_all():
    e = torch.tensor([0, 65536, 0])
    assert keep(e, 2**16).tolist() == [1, 1, 0]
    assert keep(e, 0).tolist() == [1, 1, 1]


def test_close_to_float():
    score = torch.randint(-3000, 3000, (60,), generator=torch.Generator().manual_seed(6))
    got = keep(numerator(score, 10), round(0.3 * 2**16))
    assert torch.equal(got.bool(), keep_float(score.double() / 2**10, 0.3))
