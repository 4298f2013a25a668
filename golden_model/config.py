# SPDX-License-Identifier: Apache-2.0
"""Number formats of codes and sizes of models (docs/design.md section 1)."""

from dataclasses import asdict, dataclass

__all__ = ["AF8", "INT8", "MODELS", "ModelConfig", "NumberFormat"]


def _ceil_log2(value):
    return (value - 1).bit_length()


def _check_integer(thing, value, low, high):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{thing} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{thing} must be in {low}..{high}, not {value}")


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
    def is_adaptivfloat(self):
        return self.exponent != 0

    @property
    def mantissa(self):
        """m: fraction bits of a code's mantissa (0 for int8)."""
        return self.bits - 1 - self.exponent if self.is_adaptivfloat else 0

    @property
    def code_bits(self):
        return self.bits

    @property
    def largest(self):
        """The largest decoded integer."""
        if not self.is_adaptivfloat:
            return 127
        return (2 ** (self.mantissa + 1) - 1) << (2**self.exponent - 1)

    @property
    def decoded_bits(self):
        """Signed width of the decoded integer: 13 for <8,3>, 8 for int8."""
        return self.largest.bit_length() + 1

    @property
    def top(self):
        """Exponent of the top binade above the bias: bias_for(x) = floor(log2 x) - top."""
        return 2**self.exponent - 1 if self.is_adaptivfloat else 6

    def accumulator_bits(self, reduction):
        """Signed width that holds every dot product of `reduction` terms: 37 for <8,3> and 3072."""
        return 2 * (self.decoded_bits - 1) + _ceil_log2(reduction) + 1

    def __str__(self):
        return f"AdaptivFloat<{self.bits},{self.exponent}>" if self.is_adaptivfloat else "int8"


AF8 = NumberFormat(8, 3)
INT8 = NumberFormat(8, 0)


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
                raise ValueError(f"{name.capitalize()} must be a multiple of 16, not {size}")
        _check_integer("Heads", self.heads, 1, 64)
        if self.hidden % self.heads:
            raise ValueError(f"Heads must divide hidden {self.hidden}, not {self.heads}")
        _check_integer("Vocabulary", self.vocabulary, 1, 65536)
        _check_integer("Positions", self.positions, 1, 512)
        _check_integer("Classes", self.classes, 2, 16)
        _check_integer("Segments", self.segments, 1, 16)
        if self.activation not in ("gelu", "gelu_new"):
            raise ValueError(f"Activation must be gelu or gelu_new, not {self.activation!r}")

    @property
    def head(self):
        return self.hidden // self.heads

    @property
    def longest_reduction(self):
        """K of the widest dot product, which sizes the accumulator."""
        return max(self.hidden, self.feed_forward, self.embedding, self.positions)

    def to_json(self):
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
