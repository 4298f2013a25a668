# SPDX-License-Identifier: Apache-2.0
"""EdgeBERT's formula: figures computed by hand, and what its sources give."""

from golden_model.config import MODELS
from terse.benchmark import edgebert

BASE = MODELS["base"]


def test_edgebert_layer():
    products = 931_135_488 // 256  # 931.1 M multiplications by 16 x 16
    vectors = 27 * (12 * 128 * 8 + 2 * 128 * 48)
    assert round(products / 1e6, 3) == 3.637 and round(vectors / 1e6, 3) == 0.664
    assert edgebert.layer_cycles(BASE, 128) == 2 * products + vectors == 7_938_048
    assert "= 2 x 3.637 M + 0.664 M = 7.94 M" in edgebert.text(BASE, 128)


def test_edgebert_operations():
    cycles = edgebert.operation_cycles(BASE, 128)
    assert (
        cycles["q"]
        == cycles["k"]
        == cycles["v"]
        == cycles["attention"]
        == 2 * 128 * 768 * 768 // 256
    )
    assert cycles["hidden"] == cycles["ffn"] == 4 * cycles["q"]
    assert cycles["context"] == 2 * 2 * 12 * 128 * 128 * 64 // 256 + 331_776


def test_edgebert_other_sizes():
    assert edgebert.product(1, 768, 768, 16) == edgebert.product(
        16, 768, 768, 16
    )  # padding takes time like data
    assert edgebert.layer_cycles(BASE, 17) == edgebert.layer_cycles(BASE, 32) - 27 * (
        12 * 15 * 2 + 2 * 15 * 48
    )
    assert edgebert.product(128, 768, 768, 8) == 4 * edgebert.product(128, 768, 768, 16)


def test_edgebert_host():
    tiles = 8 * 48 * 4 + 12 * (8 * 8 + 8 * 4) + 8 * 192 + 8 * 48
    assert (
        edgebert.layer_cycles(BASE, 128, trip=100) - edgebert.layer_cycles(BASE, 128) == 100 * tiles
    )
    assert "(host, 100 a tile)" in edgebert.text(BASE, 128, trip=100)
