# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from golden_model.adaptivfloat import decode_integer
from golden_model.config import AF8, INT8, NumberFormat
from golden_model.fixed import Saturations
from golden_model.mac_array import mac_array
from golden_model.requantize import add_residual, requantize


@pytest.mark.parametrize("fmt", [AF8, INT8, NumberFormat(8, 4)], ids=str)
def test_exact_and_in_any_order(fmt):
    generator = torch.Generator().manual_seed(7)
    a = torch.randint(0, 256, (5, 96), generator=generator)
    w = torch.randint(0, 256, (96, 7), generator=generator)
    got = mac_array(a, w, fmt)
    assert torch.equal(got, decode_integer(a, fmt) @ decode_integer(w, fmt))
    assert torch.equal(got, mac_array(a, decode_integer(w, fmt).double(), fmt))
    order = torch.randperm(96, generator=generator)
    assert torch.equal(got, mac_array(a[:, order], w[order], fmt))


@pytest.mark.parametrize("fmt", [AF8, INT8, NumberFormat(8, 4)], ids=str)
def test_accumulator_holds_the_worst_case(fmt):
    largest = (1 << (fmt.bits - 1)) - 1
    worst = int(mac_array(torch.full((1, 3072), largest), torch.full((3072, 1), largest), fmt))
    assert worst == 3072 * fmt.largest**2 < 2 ** (fmt.accumulator_bits(3072) - 1)


def test_requantize():
    counted = Saturations()
    assert requantize(torch.tensor([24, 40, 2**40]), 0, 4, counted).tolist() == [2, 2, 32767]
    assert counted.count == 1
    assert requantize(torch.tensor([24]), -8, 4).tolist() == [1]


def test_residual():
    counted = Saturations()
    assert add_residual(
        torch.tensor([6, -30000]), torch.tensor([1, -20000]), 1, counted
    ).tolist() == [4, -32768]
    assert counted.count == 1
