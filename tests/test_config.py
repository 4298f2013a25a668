# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.config import AF8, INT8, MODELS, ModelConfig, NumberFormat

NANO = dict(
    layers=3,
    embedding=16,
    hidden=32,
    heads=2,
    feed_forward=64,
    vocabulary=64,
    positions=16,
    classes=3,
)


def test_widths():
    assert (AF8.mantissa, AF8.decoded_bits, AF8.largest) == (4, 13, 3968)
    assert (INT8.mantissa, INT8.decoded_bits, INT8.largest) == (0, 8, 127)
    assert NumberFormat(8, 4).decoded_bits == 20
    assert AF8.accumulator_bits(3072) == 37
    assert INT8.accumulator_bits(3072) == 15 + 12
    assert (str(AF8), str(INT8)) == ("AdaptivFloat<8,3>", "int8")


def test_models():
    assert MODELS["nano"] == ModelConfig(**NANO)
    assert MODELS["base"].head == 64 and MODELS["base"].longest_reduction == 3072
    assert ModelConfig(**MODELS["tiny"].to_json()) == MODELS["tiny"]


@pytest.mark.parametrize(
    "bits, exponent, text",
    [
        (3, 2, "Bits must be in 4..8, not 3"),
        (9, 3, "Bits must be in 4..8, not 9"),
        (8, 5, "Exponent bits must be in 2..4, not 5"),
        (4, 4, "Exponent bits must be at most 3 in 4 bits, not 4"),
        (7, 0, r"Bits must be 8 for int8 \(exponent 0\), not 7"),
    ],
)
def test_wrong_format(bits, exponent, text):
    with pytest.raises(ValueError, match=text):
        NumberFormat(bits, exponent)


@pytest.mark.parametrize(
    "change, text",
    [
        (dict(hidden=40), "Hidden must be a multiple of 16, not 40"),
        (dict(heads=3), "Heads must divide hidden 32, not 3"),
        (dict(classes=17), "Classes must be in 2..16, not 17"),
        (dict(positions=513), "Positions must be in 1..512, not 513"),
        (dict(activation="relu"), "Activation must be gelu or gelu_new, not 'relu'"),
    ],
)
def test_wrong_model(change, text):
    with pytest.raises(ValueError, match=text):
        ModelConfig(**(NANO | change))


def test_wrong_kind():
    with pytest.raises(TypeError, match="Layers must be an integer, not 2.0"):
        ModelConfig(**(NANO | dict(layers=2.0)))
