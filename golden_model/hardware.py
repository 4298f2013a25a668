"""The hardware configuration: what is chosen when the RTL is elaborated.

Sizes are written once, here; all else is derived.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from golden_model.config import AF8, MOST_CLASSES, NumberFormat

UNITS = (
    "span",
    "drop",
    "exit",
    "dvfs",
    "counters",
    "embedding_check",
)  # bit i of the UNITS register and of an image's needs


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b, for b > 0."""
    return -(-a // b)


# Smallest and largest value of each size.
SIZES = {
    "tokens": (2, 64),
    "columns": (2, 64),
    "slots": (1, 16),
    "positions": (2, 512),
    "hidden": (2, 4096),
    "feed_forward": (2, 16384),
    "embedding": (2, 1024),
    "heads": (1, 64),
    "layers": (1, 48),
    "classes": (2, MOST_CLASSES),
    "rows": (2, 4096),
}
BUS_BITS = (32, 64, 128, 256)


def _check_size(name, value, low, high):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Hardware {name} must be an integer, not {value!r}")
    if not low <= value <= high:
        nearest = min(max(value, low), high)
        raise ValueError(
            f"Hardware {name} must be in {low}..{high}, not {value}; nearest: {nearest}"
        )


@dataclass(frozen=True)
class HardwareConfig:
    """One elaboration of the accelerator.

    Parameters
    ----------
    tokens : T, the token lanes of the MAC array
    columns : P, the column lanes of the MAC array
    bus_bits : width of `m_axi` and `m_axi_emb` data; 32, 64, 128 or 256
    slots : sentences resident at once
    rows : live tokens resident at once; a multiple of `tokens`, at least `positions`
    positions : tokens of the longest sentence
    hidden : widest hidden layer of a model
    feed_forward : widest feed-forward layer of a model
    embedding : widest embedding of a model
    heads : most attention heads of a model
    layers : most layers of a model
    classes : most classes of a model
    weight_depth : entries of a column lane's ring; a power of two, at least twice the longest
        reduction
    format : number format of weights and array operands; AdaptivFloat of 4 to 8 bits, or int8
    multiplier : what the array multiplies with; "dsp" or "fabric"
    units : optional units that are present; a subset of those listed here

    Of a parameter in `SIZES` the range stands there; behind a semicolon is what else is allowed.
    Raises ValueError, naming the parameter, what is allowed and the nearest value that works.
    """

    tokens: int = 4
    columns: int = 4
    bus_bits: int = 32
    slots: int = 2
    rows: int = 64
    positions: int = 64
    hidden: int = 128
    feed_forward: int = 512
    embedding: int = 64
    heads: int = 4
    layers: int = 12
    classes: int = 16
    weight_depth: int = 1024
    format: NumberFormat = AF8
    multiplier: str = "dsp"
    units: frozenset[str] = frozenset(UNITS)

    def __post_init__(self):
        """ValueError for sizes out of range or that do not fit each other, for unknown units."""
        object.__setattr__(self, "units", frozenset(self.units))
        for name, (low, high) in SIZES.items():
            _check_size(name, getattr(self, name), low, high)
        if self.bus_bits not in BUS_BITS:
            raise ValueError(
                f"Hardware bus_bits must be {', '.join(map(str, BUS_BITS[:-1]))} or "
                f"{BUS_BITS[-1]}, not {self.bus_bits}"
            )
        self._check_buffers()
        if self.multiplier not in ("dsp", "fabric"):
            raise ValueError(
                f"Hardware multiplier must be 'dsp' or 'fabric', not {self.multiplier!r}"
            )
        if unknown := self.units - set(UNITS):
            raise ValueError(
                f"Hardware units must be among {', '.join(UNITS)}, not {', '.join(sorted(unknown))}"
            )

    def _check_buffers(self):
        """Rows hold the longest sentence in whole tiles; the weight ring holds two columns."""
        if self.rows % self.tokens:
            raise ValueError(
                f"Hardware rows must be a multiple of tokens ({self.tokens}), not {self.rows}; "
                f"nearest: {ceil_div(self.rows, self.tokens) * self.tokens}"
            )
        if self.rows < self.positions:
            raise ValueError(
                f"Hardware rows must be at least positions ({self.positions}), not {self.rows}; "
                f"nearest: {ceil_div(self.positions, self.tokens) * self.tokens}"
            )
        if self.weight_depth < 2 * self.reduction or self.weight_depth & (self.weight_depth - 1):
            raise ValueError(
                "Hardware weight_depth must be a power of two and at least twice the longest "
                f"reduction ({self.reduction}), not {self.weight_depth}; "
                f"nearest: {1 << (2 * self.reduction - 1).bit_length()}"
            )

    @property
    def reduction(self) -> int:
        """Longest reduction that the array holds: K of the activation copies."""
        return max(self.hidden, self.feed_forward, self.embedding, self.positions)

    @property
    def accumulator_bits(self) -> int:
        """Width of the exact accumulator (docs/numerics.md, Accumulation)."""
        return self.format.accumulator_bits(self.reduction)

    @property
    def bus_bytes(self) -> int:
        return self.bus_bits // 8

    @property
    def tiles(self) -> int:
        """Tiles of T rows in the row table."""
        return self.rows // self.tokens

    @property
    def physical_rows(self) -> int:
        """Rows of the residual stream's memory.

        The live ones, and half as many that are filled for sentences of later passes.
        """
        return self.rows + self.rows // 2

    @property
    def cls_tiles(self) -> int:
        """Tiles of [CLS] rows, one row a slot."""
        return ceil_div(self.slots, self.tokens)

    @property
    def widest(self) -> int:
        """Features that a row of the residual stream may have: its embedding comes first."""
        return max(self.hidden, self.embedding)

    @property
    def row_words(self) -> int:
        """Words of T features that a physical row takes."""
        return ceil_div(self.widest, self.tokens)

    @property
    def code_features(self) -> int:
        """Features of a tile that are there as codes at once: queries and context, or hidden."""
        return max(2 * self.hidden, self.feed_forward)

    @property
    def unit_bits(self) -> int:
        """The present units as the UNITS register shows them."""
        return sum(1 << i for i, name in enumerate(UNITS) if name in self.units)

    @property
    def config_hash(self) -> int:
        """32-bit hash of this configuration; images carry it and the hardware compares it."""
        fields = dataclasses.asdict(self) | {"units": sorted(self.units)}
        return int.from_bytes(
            hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()[:4], "little"
        )


HARDWARE = {
    "ci": HardwareConfig(),
    "ecp5": HardwareConfig(tokens=8, columns=8),
    "edgebert": HardwareConfig(
        tokens=16,
        columns=16,
        bus_bits=128,
        slots=8,
        rows=128,
        positions=128,
        hidden=768,
        feed_forward=3072,
        embedding=128,
        heads=12,
        weight_depth=16384,
    ),
}
