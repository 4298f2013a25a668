# SPDX-License-Identifier: Apache-2.0
"""Blocks with parameters of their own refuse those that cannot be built: one case for a message."""

import pytest

from golden_model.hardware import HARDWARE
from hw.arith.adaptivfloat import Encoder
from hw.arith.exponential import Exponential
from hw.arith.functions import Reciprocal, Rsqrt
from hw.arith.gelu import Activation
from hw.arith.multiply import SerialMultiplier
from hw.arith.requantize import Requantize
from hw.array.mac_array import MacArray
from hw.array.norm import Norm
from hw.array.normalize import Normalize
from hw.array.operand import Operand
from hw.array.ring import Ring
from hw.buffer import Buffer, Turn
from hw.bus.dma import Reader, Writer
from hw.shapes import ACT
from hw.stream import Fifo

BUFFER = {"shape": ACT, "lanes": 4, "depth": 16}
TURN = {"shape": ACT, "width": 4, "beats": 4}
FIFO = {"shape": ACT, "depth": 2}
FACTORS = {"a_width": 32, "b_width": 8}
CONFIG = {"config": HARDWARE["ci"]}
POINT = {**CONFIG, "point": ACT}

WRONG = [
    (Buffer, BUFFER, {"shape": "ACT"}, TypeError, "Value must be a shape, not 'ACT'"),
    (Buffer, BUFFER, {"lanes": 4.0}, TypeError, "Lanes must be an integer, not 4.0"),
    (Buffer, BUFFER, {"lanes": 0}, ValueError, "Lanes must be at least 1, not 0"),
    (Buffer, BUFFER, {"depth": True}, TypeError, "Depth must be an integer, not True"),
    (Buffer, BUFFER, {"depth": 0}, ValueError, "Depth must be at least 1, not 0"),
    (Turn, TURN, {"shape": None}, TypeError, "Value must be a shape, not None"),
    (Turn, TURN, {"width": "4"}, TypeError, "Width must be an integer, not '4'"),
    (Turn, TURN, {"width": 0}, ValueError, "Width must be at least 1, not 0"),
    (Turn, TURN, {"beats": None}, TypeError, "Beats must be an integer, not None"),
    (Turn, TURN, {"beats": -1}, ValueError, "Beats must be at least 1, not -1"),
    (Fifo, FIFO, {"shape": -1}, TypeError, "Payload must be a shape, not -1"),
    (Fifo, FIFO, {"depth": 2.5}, TypeError, "Depth must be an integer, not 2.5"),
    (Fifo, FIFO, {"depth": 0}, ValueError, "Depth must be at least 1, not 0"),
    (
        SerialMultiplier,
        FACTORS,
        {"a_width": "a"},
        TypeError,
        "Width of a must be an integer, not 'a'",
    ),
    (SerialMultiplier, FACTORS, {"a_width": 0}, ValueError, "Width of a must be at least 1, not 0"),
    (
        SerialMultiplier,
        FACTORS,
        {"b_width": 1.0},
        TypeError,
        "Width of b must be an integer, not 1.0",
    ),
    (SerialMultiplier, FACTORS, {"b_width": 0}, ValueError, "Width of b must be at least 1, not 0"),
    (Reciprocal, {"width": 18}, {"width": 17}, ValueError, "Width must be at least 18, not 17"),
    (Reciprocal, {"width": 18}, {"meta": "last"}, TypeError, "Meta must be a shape, not 'last'"),
    (Rsqrt, {"width": 18}, {"width": 18.5}, TypeError, "Width must be an integer, not 18.5"),
    (Exponential, {}, {"meta": None}, TypeError, "Meta must be a shape, not None"),
    (Requantize, CONFIG, {"meta": -1}, TypeError, "Meta must be a shape, not -1"),
    (Activation, CONFIG, {"meta": 1.5}, TypeError, "Meta must be a shape, not 1.5"),
    (Ring, FIFO, {"shape": "ACT"}, TypeError, "Word must be a shape, not 'ACT'"),
    (Ring, FIFO, {"depth": 4.0}, TypeError, "Depth must be an integer, not 4.0"),
    (Ring, FIFO, {"depth": 0}, ValueError, "Depth must be at least 1, not 0"),
    (Ring, FIFO, {"depth": 3}, ValueError, "Depth must be a power of two, not 3"),
    (MacArray, CONFIG, {"meta": None}, TypeError, "Meta must be a shape, not None"),
    (Norm, POINT, {"point": None}, TypeError, "Point must be a shape, not None"),
    (Operand, POINT, {"point": "tile"}, TypeError, "Point must be a shape, not 'tile'"),
    (Normalize, CONFIG, {"meta": ()}, TypeError, "Meta must be a shape, not ()"),
    (Encoder, CONFIG, {"meta": "x"}, TypeError, "Meta must be a shape, not 'x'"),
    (Reader, CONFIG, {"burst": 8}, ValueError, "Burst must be 16, 32 or 64 beats, not 8"),
    (Reader, CONFIG, {"outstanding": 0}, ValueError, "Outstanding must be at least 1, not 0"),
    (Reader, CONFIG, {"outstanding": 2.5}, TypeError, "Outstanding must be an integer, not 2.5"),
    (Writer, CONFIG, {"burst": "16"}, ValueError, "Burst must be 16, 32 or 64 beats, not '16'"),
    (Encoder, CONFIG, {"shape": "ACT"}, TypeError, "Value must be a shape, not 'ACT'"),
]


@pytest.mark.parametrize(
    ("block", "right", "wrong", "error", "text"),
    WRONG,
    ids=[f"{block.__name__}-{text}" for block, _, _, _, text in WRONG],
)
def test_wrong_parameter(block, right, wrong, error, text):
    block(**right)
    with pytest.raises(error) as caught:
        block(**right | wrong)
    assert str(caught.value) == text
