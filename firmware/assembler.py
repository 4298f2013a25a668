# SPDX-License-Identifier: Apache-2.0
"""Instructions one by one, with what they make and the weight streams of the LINEARs."""

from dataclasses import dataclass

import numpy as np

from firmware import isa
from firmware.buffers import areas, beyond
from firmware.columns import PORTION, arrange_columns, pack_columns, sort_runs
from firmware.image import CHECK_BYTES, seal, stream_stride
from firmware.isa import Opcode, Source, Target
from golden_model.hardware import ceil_div

__all__ = ["Arrangement", "Assembler", "CompileError", "Symbol"]

CODED = (Target.CODES, Target.KEYS, Target.VALUES)  # an encoder is before them


class CompileError(ValueError):
    """The network cannot run on the hardware; the text lists every reason with what would fit."""


@dataclass(frozen=True)
class Symbol:
    """What an instruction makes.

    tensor : a golden model's tensor, with "{l}" for the layer; frac : its fraction bits
    features : index in the tensor's flattened features of each stored destination; for `v`
        (words, P): of each lane of each word, -1 for padding; for the context of each address in
        its tile. None where there is only one, or an identity.
    """

    tensor: str
    frac: int | None = None
    features: np.ndarray | None = None


@dataclass(frozen=True)
class Arrangement:
    """How the columns of a LINEAR are ordered, and where their results are stored.

    orders, slots : see `pack_columns`
    destinations : of each column, its own number by default; features : see `Symbol`
    """

    orders: list | None = None
    slots: np.ndarray | None = None
    destinations: np.ndarray | None = None
    features: np.ndarray | None = None


class Assembler:
    """One compilation.

    instructions, symbols : field values and `Symbol` (or None) by pc
    columns, streams : by pc of a LINEAR, the `Columns` of each of its streams, and their bytes
    area : see `firmware.buffers.areas`
    """

    def __init__(self, network, hardware):
        self.network = network
        self.hardware = hardware
        self.model = network.model
        self.area = areas(network.model, len(network.live_heads), hardware)
        if reasons := list(beyond(self.area, hardware)):
            raise CompileError("Buffers are too small:\n" + "\n".join(f"  {r}" for r in reasons))
        self.instructions = []
        self.symbols = []
        self.columns = {}
        self.streams = {}

    def emit(self, name, symbol, **values):
        """Add an instruction; returns its number."""
        try:
            isa.pack(**values)
        except ValueError as error:
            raise CompileError(f"{name} does not fit an instruction: {error}") from None
        self.instructions.append(values)
        self.symbols.append(symbol)
        return len(self.instructions) - 1

    def encoder(self, tensor):
        """The encoder's offset for an ACT tensor."""
        return self.network.frac[tensor] + self.network.code_bias[tensor]

    def linear(
        self,
        name,
        output,
        *,
        source,
        operand=None,
        codes=None,
        stacked=False,
        arrangement=None,
        **values,
    ):
        """LINEAR `name`, which makes the tensor `output`.

        operand : the ACT tensor that is encoded when it is loaded, None for CODES
        codes : instead of the network's, such as with permuted rows
        stacked : there are weights for each layer
        values : further instruction fields
        """
        linear = self.network.linears[name]
        codes = linear.codes if codes is None else codes
        arrangement = arrangement or Arrangement()
        if values["target_buffer"] == Target.SUM:
            # NORM can follow portion by portion only where each is complete before the next one.
            arrangement = Arrangement(
                orders=sort_runs(np.asarray(codes), PORTION * self.hardware.columns)
            )
        parts = zip(codes, linear.bias, strict=True) if stacked else [(codes, linear.bias)]
        columns = [self._pack(name, *part, arrangement) for part in parts]
        values |= {"source": source, "align": linear.align, "shift": linear.shift}
        if source != Source.CODES:
            values["encode"] = self.encoder(operand)
        if values["target_buffer"] in CODED:
            values["store_encode"] = self.encoder(output)
        beats = max(len(packed.data) for packed in columns) // self.hardware.bus_bytes
        if stacked:
            values["stacked"] = 1
            if beats >> isa.STACKED_BITS:
                raise CompileError(
                    f"{name} must have weight streams below {1 << isa.STACKED_BITS} bus words, "
                    f"not of {beats}"
                )
        pc = self.emit(
            name,
            Symbol(f"layer{{l}}.{output}", self.network.frac[output], arrangement.features),
            opcode=Opcode.LINEAR,
            beats=beats,
            reduction=columns[0].rows,
            groups=columns[0].groups,
            block=self._block(columns, values.get("cls")),
            **values,
        )
        size = beats * self.hardware.bus_bytes
        self.columns[pc] = columns
        self.streams[pc] = b"".join(
            seal(packed.data[:-CHECK_BYTES], size).ljust(stream_stride(size), b"\0")
            for packed in columns
        )

    def _pack(self, name, codes, bias, arrangement):
        hardware = self.hardware
        destinations = arrangement.destinations
        try:
            return pack_columns(
                np.asarray(codes),
                bias.tolist(),
                range(len(codes)) if destinations is None else destinations,
                hardware.columns,
                hardware.bus_bytes,
                arrangement.orders,
                arrangement.slots,
            )
        except ValueError as error:
            raise CompileError(f"{name}: {error}") from None

    def _block(self, columns, cls):
        """Groups that the weight buffers hold at once, whatever the layer's stream."""
        hardware = self.hardware
        tiles = hardware.cls_tiles if cls else hardware.tiles
        return min(
            packed.block(hardware.bus_bytes, hardware.weight_depth, tiles) for packed in columns
        )

    def in_order(self, name):
        """(order, `Arrangement`) that stores the features of a LINEAR as they leave the array.

        So the next LINEAR, whose rows are permuted by `order`, can follow word by word. Columns of
        stacked streams are arranged alike, by the non-zeros of all layers.
        """
        codes = np.asarray(self.network.linears[name].codes)
        if codes.ndim == 3:
            codes = np.concatenate(codes, axis=1)
        slots = arrange_columns(codes, self.hardware.columns)
        order = slots[slots >= 0]
        return order, Arrangement(slots=slots, features=order, destinations=np.argsort(order))

    def heads_in_order(self):
        """(`Arrangement` of the values, the context's features by address).

        Each live head starts a group of columns, and its order is that of the lanes, so that a word
        of VALUES is a group; with the values the context is permuted inside each head.
        """
        head = self.model.head
        codes = np.asarray(self.network.linears["attention.value"].codes)
        words = ceil_div(head, self.hardware.columns)
        orders = sort_runs(codes, head)
        features = arrange_columns(codes, self.hardware.columns, orders)  # (words, P)
        destinations = np.empty(len(codes), int)
        for word, lanes in enumerate(features):
            destinations[lanes[lanes >= 0]] = word
        context = features.reshape(-1, words * self.hardware.columns)[:, :head].flatten()
        return Arrangement(orders=orders, destinations=destinations, features=features), context

    def norm(self, name, tensor, number, **values):
        """NORM with LayerNorm `name`, parameter set `number`."""
        norm = self.network.norms[name]
        self.emit(
            name,
            Symbol(tensor, norm.frac),
            opcode=Opcode.NORM,
            normalize=1,
            norm_set=number,
            shift=norm.shift,
            reduction=len(norm.gamma),
            residual=1,
            follow=int(not values.get("skip_sum")),
            **values,
        )
