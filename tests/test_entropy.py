# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from golden_model.entropy import entropy_float, entropy_sums, is_sure, reported_entropy
from golden_model.functions import exp, ln


@pytest.mark.parametrize("classes", [2, 3, 16])
def test_reported_is_close_to_float(classes):
    logits = torch.randint(-4000, 4000, (5000, classes), generator=torch.Generator().manual_seed(5))
    got = reported_entropy(*entropy_sums(logits, 10)) / 2**16
    error = (got - entropy_float(logits.double() / 2**10)).abs().max()
    assert float(error) < classes * 2.0**-11


@given(
    st.lists(st.integers(-32768, 32767), min_size=2, max_size=16),
    st.integers(0, 2**18 - 1),
    st.integers(4, 14),
)
def test_decision(logits, threshold, frac):
    """Recomputed with Python integers."""
    z, s = entropy_sums(torch.tensor(logits), frac)
    top = max(logits)
    d = [min(_aligned(top - x, frac), 65535) for x in logits]
    e = [int(exp(torch.tensor(x))) for x in d]
    weighted = sum(x * y for x, y in zip(d, e, strict=True))
    left = sum(e) * int(ln(torch.tensor(sum(e)))) + (weighted << 5)
    assert bool(is_sure(z, s, threshold)) == (left < threshold * sum(e))


def _aligned(x, frac):
    return round(x * 2.0 ** (11 - frac))


def test_strict_and_extremes():
    even = torch.zeros(4, dtype=torch.int64)
    z, s = entropy_sums(even, 10)
    report = int(reported_entropy(z, s))
    assert abs(report / 2**16 - math.log(4)) < 2.0**-12
    assert not bool(is_sure(z, s, report)) and bool(is_sure(z, s, report + 1))
    certain = entropy_sums(torch.tensor([32767, -32768]), 5)
    assert int(reported_entropy(*certain)) == 0
    assert not bool(is_sure(*certain, 0)) and bool(is_sure(*certain, 1))
