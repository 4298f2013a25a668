# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from golden_model.fixed import Saturations
from golden_model.formats import NORM_FRAC
from golden_model.layernorm import layernorm, layernorm_float

GAMMA_FRAC, FRAC = 13, 11
SHIFT = NORM_FRAC + GAMMA_FRAC - FRAC


def both(x, gamma, beta):
    got = layernorm(x, gamma, beta, SHIFT)
    want = layernorm_float(x.double(), gamma / 2**GAMMA_FRAC, beta / 2**FRAC) * 2**FRAC
    return got, want.clamp(-(2**15), 2**15 - 1)


@pytest.mark.parametrize("size", [16, 128, 768, 1024])
@pytest.mark.parametrize("spread", [3, 300, 30000])
def test_close_to_float(size, spread):
    generator = torch.Generator().manual_seed(size + spread)
    x = torch.randint(-spread, spread + 1, (50, size), generator=generator)
    gamma = torch.randint(-(2**14), 2**14, (size,), generator=generator)
    beta = torch.randint(-(2**13), 2**13, (size,), generator=generator)
    got, want = both(x, gamma, beta)
    error = float((got - want).abs().max())
    print(f"H = {size}, spread {spread}: {error:.2f} LSB of {2.0**-FRAC}")
    assert error <= 2.5


@pytest.mark.parametrize("size", [16, 1024])
def test_one_large_element(size):
    """The largest normalized value, sqrt(H - 1), still fits."""
    x = torch.zeros(2, size, dtype=torch.int64)
    x[0, 0], x[1, 3] = 32767, -1
    counted = Saturations()
    y = layernorm(
        x, torch.full((size,), 2**9), torch.zeros(size, dtype=torch.int64), NORM_FRAC, counted
    )
    assert counted.count == 0
    assert abs(int(y[0, 0]) / 2**9 - (size - 1) ** 0.5) < 0.01
    assert abs(int(y[1, 3]) / 2**9 + (size - 1) ** 0.5) < 0.01


def test_no_variance_gives_beta():
    beta = torch.arange(-8, 8)
    y = layernorm(torch.full((1, 16), 1234), torch.full((16,), 4096), beta, SHIFT)
    assert torch.equal(y[0], beta)


def test_scale_of_the_input_does_not_matter():
    x = torch.tensor([[5, -3, 8, 100, 1, 0, -77, 31] * 2])
    gamma, beta = torch.full((16,), 9000), torch.zeros(16, dtype=torch.int64)
    assert torch.equal(layernorm(x, gamma, beta, SHIFT), layernorm(4 * x, gamma, beta, SHIFT))


def test_counts_saturation():
    counted = Saturations()
    x = torch.tensor([[1, -1] * 8])
    y = layernorm(x, torch.full((16,), 2**15 - 1), torch.full((16,), 2**15 - 1), NORM_FRAC, counted)
    assert counted.count == 8 and int(y.max()) == 2**15 - 1
