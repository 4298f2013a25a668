# SPDX-License-Identifier: Apache-2.0
"""Number formats of codes and sizes of models (docs/design.md section 1)."""

import reprlib
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "AF8",
    "FORMATS",
    "INT8",
    "MODELS",
    "MOST_CLASSES",
    "NEVER",
    "ModelConfig",
    "NumberFormat",
    "brief",
    "from_json",
]

MOST_CLASSES = 16  # of a model; a result record has a logit for each
NEVER = 0xFF  # the layer at which a token was dropped that stayed to the end: beyond any layer

Kind = TypeVar("Kind", bound="DataclassInstance")
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = 80


def brief(value: Any) -> str:
    """A wrong value as text for a message of one line: long ones and deep ones are cut."""
    return _BRIEF.repr(value)


def from_json(kind: type[Kind], values: Any) -> Kind:
    """The dataclass `kind` from an object of a JSON file.

    Raises TypeError or ValueError with the key that is unknown, missing or wrong.
    """
    known = {field.name: field for field in fields(kind)}
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} must be an object, not {brief(values)}")
    for name in values:
        if name not in known:
            raise ValueError(
                f"{kind.__name__} must have only the keys {', '.join(known)}, not {brief(name)}"
            )
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            raise ValueError(f"{kind.__name__} must have the key {name}, it is missing")
    return kind(**values)


def _ceil_log2(value):
    return (value - 1).bit_length()


def _check_integer(thing, value, low, high):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{thing} must be an integer, not {brief(value)}")
    if not low <= value <= high:
        nearest = min(max(value, low), high)
        raise ValueError(
            f"{thing} must be in {low}..{high}, not {brief(value)}; nearest: {nearest}"
        )


def _nearest_divisor(value, of):
    """The divisor of `of` that is nearest to `value`, the smaller of two."""
    return min((n for n in range(1, of + 1) if of % n == 0), key=lambda n: abs(n - value))


@dataclass(frozen=True)
class NumberFormat:
    """Format of weights and array inputs: AdaptivFloat<bits,exponent>, or int8 if exponent is 0.

    A code decodes to the integer d (`decoded_bits` wide, signed), worth d * 2^(b - mantissa), b the
    tensor's bias. For int8 mantissa is 0, so b is the plain power-of-two scale of the byte.
    """

    bits: int = 8
    exponent: int = 3

    def __post_init__(self):
        _check_integer("Bits", self.bits, 4, 8)
        if self.exponent == 0:
            if self.bits != 8:
                raise ValueError(f"Bits must be 8 for int8 (exponent 0), not {self.bits}")
            return
        _check_integer("Exponent bits", self.exponent, 2, 4)
        if self.mantissa < 0:
            raise ValueError(
                f"Exponent bits must be at most {self.bits - 1} in {self.bits} bits, "
                f"not {self.exponent}"
            )

    @property
    def is_adaptivfloat(self) -> bool:
        return self.exponent != 0

    @property
    def mantissa(self) -> int:
        """m: fraction bits of a code's mantissa (0 for int8)."""
        return self.bits - 1 - self.exponent if self.is_adaptivfloat else 0

    @property
    def largest(self) -> int:
        """The largest decoded integer."""
        if not self.is_adaptivfloat:
            return 127
        return (2 ** (self.mantissa + 1) - 1) << (2**self.exponent - 1)

    @property
    def decoded_bits(self) -> int:
        """Signed width of the decoded integer: 13 for <8,3>, 8 for int8."""
        return self.largest.bit_length() + 1

    @property
    def top(self) -> int:
        """Exponent of the top binade above the bias: bias_for(x) = floor(log2 x) - top."""
        return 2**self.exponent - 1 if self.is_adaptivfloat else 6

    def accumulator_bits(self, reduction: int) -> int:
        """Signed width that holds every dot product of `reduction` terms: 37 for <8,3> and 3072."""
        return 2 * (self.decoded_bits - 1) + _ceil_log2(reduction) + 1

    def __str__(self) -> str:
        return f"AdaptivFloat<{self.bits},{self.exponent}>" if self.is_adaptivfloat else "int8"


AF8 = NumberFormat(8, 3)
INT8 = NumberFormat(8, 0)
# Every number format that there is.
FORMATS = (
    *(
        NumberFormat(bits, exponent)
        for bits in range(4, 9)
        for exponent in range(2, min(4, bits - 1) + 1)
    ),
    INT8,
)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of an ALBERT classifier with a contribution predictor before every layer."""

    layers: int
    embedding: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    classes: int
    segments: int = 2
    predictor: int = 32
    activation: str = "gelu_new"

    def __post_init__(self):
        """The order matters: a size is an integer before it is divided."""
        _check_integer("Layers", self.layers, 1, 64)
        for name, most in (
            ("embedding", 4096),
            ("hidden", 4096),
            ("feed_forward", 16384),
            ("predictor", 4096),
        ):
            size = getattr(self, name)
            _check_integer(name.capitalize(), size, 16, most)
            if size % 16:
                raise ValueError(
                    f"{name.capitalize()} must be a multiple of 16, not {size}; "
                    f"nearest: {(size + 8) // 16 * 16}"
                )
        _check_integer("Heads", self.heads, 1, 64)
        if self.hidden % self.heads:
            raise ValueError(
                f"Heads must divide hidden {self.hidden}, not {self.heads}; "
                f"nearest: {_nearest_divisor(self.heads, self.hidden)}"
            )
        _check_integer("Vocabulary", self.vocabulary, 1, 65536)
        _check_integer("Positions", self.positions, 1, 512)
        _check_integer("Classes", self.classes, 2, MOST_CLASSES)
        _check_integer("Segments", self.segments, 1, 16)
        if self.activation not in ("gelu", "gelu_new"):
            raise ValueError(f"Activation must be gelu or gelu_new, not {brief(self.activation)}")

    @property
    def head(self) -> int:
        return self.hidden // self.heads

    @property
    def longest_reduction(self) -> int:
        """K of the widest dot product, which sizes the accumulator."""
        return max(self.hidden, self.feed_forward, self.embedding, self.positions)

    def to_json(self) -> dict:
        return asdict(self)


MODELS = {
    "nano": ModelConfig(
        layers=3,
        embedding=16,
        hidden=32,
        heads=2,
        feed_forward=64,
        vocabulary=64,
        positions=16,
        classes=3,
    ),
    "tiny": ModelConfig(
        layers=6,
        embedding=64,
        hidden=128,
        heads=4,
        feed_forward=512,
        vocabulary=8192,
        positions=64,
        classes=2,
    ),
    "base": ModelConfig(
        layers=12,
        embedding=128,
        hidden=768,
        heads=12,
        feed_forward=3072,
        vocabulary=30000,
        positions=128,
        classes=2,
    ),
}
