# SPDX-License-Identifier: Apache-2.0
"""Network and hardware configuration -> program, image, embedding image, and what each instruction makes.

The program is one pass (docs/design.md, section 3): admit new sentences, project their embeddings; predictor and drop by groups of slots at one
layer; attention; feed forward; off-ramp; LOOP. Tile buffers have the address base + tile * stride + feature:

    SUM, NORMED     base 0, stride = features
    CODES           queries at 0, context after all tiles' queries; hidden, predict_hidden at 0, when those are no longer needed;
                    pooled after the largest of them
    KEYS            base 0, the queries' stride
    VALUES          destination = number of the word of P features, counted over all live heads
    SCORES          predictor: one word a tile; logits: stride = classes
"""

from dataclasses import dataclass

import numpy as np

from firmware import isa
from firmware.buffers import areas, beyond
from firmware.columns import PORTION, Columns, arrange_columns, pack_columns, sort_runs
from firmware.embedding_image import build_embedding, parse_embedding
from firmware.fit import problems, units_needed
from firmware.image import Layout, Memory, build_image, stream_stride
from firmware.isa import Function, Opcode, Select, Source, Target
from golden_model.counters import layer_work
from golden_model.formats import EXP_IN_FRAC
from golden_model.hardware import UNITS, ceil_div

__all__ = ["CompileError", "Program", "Symbol", "compile_network"]

_GELU = {"gelu_new": Function.GELU_NEW, "gelu": Function.GELU}


class CompileError(ValueError):
    """The network cannot run on the hardware; the text lists every reason with what would fit."""


@dataclass(frozen=True)
class Symbol:
    """What an instruction makes.

    tensor: name of docs/design.md, with "{l}" for the layer; frac: its fraction bits.
    features: index in the tensor's flattened features of each stored destination; for `v` (words, P): of each lane of each word,
    -1 for padding; for the context of each address in its tile. None where there is only one, or an identity.
    """

    tensor: str
    frac: int | None = None
    features: np.ndarray | None = None


@dataclass(frozen=True)
class Program:
    """A compiled network.

    instructions, symbols: field values and `Symbol` (or None) by pc; columns: by pc of a LINEAR, the `Columns` of its stream, one for
    each layer for the predictor's; words: as in the image.
    """

    hardware: object
    image: bytes
    embedding: bytes
    instructions: tuple
    symbols: tuple
    columns: dict
    words: tuple
    early_exit: bool


def compile_network(network, hardware, early_exit=None):
    """Compile a `golden_model.network.Network` for a `HardwareConfig`.

    early_exit: whether the program has the off-ramp's operations; by default, whether the exit threshold is above 0. A threshold
    that the host sets later only works with them. Raises CompileError.
    """
    reasons = problems(network, hardware)
    early_exit = network.exit_threshold > 0 if early_exit is None else early_exit
    if early_exit and "exit" not in hardware.units and network.exit_threshold == 0:
        reasons.append("unit exit must be present for early_exit=True")
    if not reasons:
        found = areas(network.model, len(network.live_heads), hardware)
        reasons += beyond(found, hardware)
    if reasons:
        raise CompileError(
            "Model does not fit the hardware:\n" + "\n".join(f"  {reason}" for reason in reasons)
        )
    return _Compiler(network, hardware, early_exit).program()


class _Compiler:
    """One compilation: the instructions so far, with their symbols and weight streams."""

    def __init__(self, network, hardware, early_exit):
        self.network = network
        self.hardware = hardware
        self.early_exit = early_exit
        self.model = network.model
        self.attention = len(network.live_heads) * self.model.head  # features of all live heads
        self.instructions = []
        self.symbols = []
        self.columns = {}
        self.streams = {}  # pc -> bytes
        self._order_values()

    def program(self):
        self.embed()
        if (self.network.eta > 0).any():
            self.drop()
        self.attend()
        self.feed_forward()
        self.exit()
        self.emit("LOOP", None, opcode=Opcode.LOOP, target=0)
        embedding = self.embedding_image()
        words, image = self.image(parse_embedding(embedding).hash)
        return Program(
            self.hardware,
            image,
            embedding,
            tuple(self.instructions),
            tuple(self.symbols),
            self.columns,
            words,
            self.early_exit,
        )

    # Emitting.

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
        stacked=False,
        codes=None,
        orders=None,
        slots=None,
        destinations=None,
        features=None,
        **values,
    ):
        """LINEAR `name`; its stream is packed here. `values` are further instruction fields."""
        linear = self.network.linears[name]
        codes = linear.codes if codes is None else codes
        if values["target_buffer"] == Target.SUM:
            orders = sort_runs(np.asarray(codes), PORTION * self.hardware.columns)
        parts = (
            [(codes, linear.bias)] if not stacked else list(zip(codes, linear.bias, strict=True))
        )
        width, reduction = parts[0][0].shape
        columns = [
            self.pack(
                name, *part, range(width) if destinations is None else destinations, orders, slots
            )
            for part in parts
        ]
        beats = max(len(packed.data) for packed in columns) // self.hardware.bus_bytes
        stride = stream_stride(beats * self.hardware.bus_bytes)
        values = {"align": linear.align, **values}
        if values["source"] != Source.CODES:
            values["encode"] = self.encoder(_SOURCE_TENSOR[name])
        if values["target_buffer"] in (Target.CODES, Target.KEYS, Target.VALUES):
            values["store_encode"] = self.encoder(output)
        if stacked:
            values["stacked"] = 1
            if beats >> isa.STACKED_BITS:
                raise CompileError(
                    f"{name} must have weight streams below {1 << isa.STACKED_BITS} bus words, not of {beats}"
                )
        tiles = (
            ceil_div(self.hardware.slots, self.hardware.tokens)
            if values.get("cls")
            else self.hardware.tiles
        )
        blocks = [
            packed.block(self.hardware.bus_bytes, self.hardware.weight_depth, tiles)
            for packed in columns
        ]
        pc = self.emit(
            name,
            Symbol(_tensor_name(output), self.network.frac[output], features),
            opcode=Opcode.LINEAR,
            beats=beats,
            reduction=reduction,
            groups=columns[0].groups,
            block=min(blocks),
            shift=linear.shift,
            **values,
        )
        self.columns[pc] = columns
        self.streams[pc] = b"".join(packed.data.ljust(stride, b"\0") for packed in columns)

    def in_order(self, name):
        """Order of the LINEAR's features in which its columns leave the array, and the arguments of `linear` that store each where the next LINEAR
        can follow. Columns of stacked streams are arranged alike, by the non-zeros of all layers."""
        codes = np.asarray(self.network.linears[name].codes)
        slots = arrange_columns(
            codes if codes.ndim == 2 else np.concatenate(codes, axis=1), self.hardware.columns
        )
        order = slots[slots >= 0]
        return order, {"slots": slots, "features": order, "destinations": np.argsort(order)}

    def pack(self, name, codes, bias, destinations, orders, slots) -> Columns:
        try:
            return pack_columns(
                np.asarray(codes),
                bias.tolist(),
                destinations,
                self.hardware.columns,
                self.hardware.bus_bytes,
                orders,
                slots,
            )
        except ValueError as error:
            raise CompileError(f"{name}: {error}") from None

    def norm(self, name, tensor, number, select, target, **values):
        """NORM with LayerNorm `name`, parameter set `number`."""
        norm = self.network.norms[name]
        self.emit(
            name,
            Symbol(tensor, norm.frac),
            opcode=Opcode.NORM,
            select=select,
            normalize=1,
            norm_set=number,
            shift=norm.shift,
            reduction=len(norm.gamma),
            target_buffer=target,
            target_stride=len(norm.gamma) if target == Target.NORMED else 0,
            follow=int(not values.get("skip_sum")),
            **values,
        )

    # The program, in its order.

    def embed(self):
        e = self.model.embedding
        h = self.model.hidden
        tables = self.network.tables
        self.emit(
            "ADMIT",
            Symbol("embed_sum", self.network.frac["embed_sum"]),
            opcode=Opcode.ADMIT,
            reduction=e,
            target_buffer=Target.STATE,
            word_shift=tables["word"].shift,
            position_shift=tables["position"].shift,
            segment_shift=tables["segment"].shift,
        )
        self.norm(
            "embedding.norm",
            "embed",
            0,
            Select.NEW,
            Target.NORMED,
            source=Source.STATE,
            residual=1,
            skip_sum=1,
        )
        self.linear(
            "embedding.project",
            "x",
            select=Select.NEW,
            source=Source.NORMED,
            source_stride=e,
            target_buffer=Target.SUM,
            target_stride=h,
            follow=1,
        )
        self.emit(
            "move",
            Symbol("layer{l}.x", self.network.frac["x"]),
            opcode=Opcode.NORM,
            select=Select.NEW,
            reduction=h,
            target_buffer=Target.STATE,
            follow=1,
        )

    def drop(self):
        model = self.model
        group = self.emit("GROUP", None, opcode=Opcode.GROUP)
        order, stored = self.in_order("predictor.hidden")
        self.linear(
            "predictor.hidden",
            "predict_hidden",
            stacked=True,
            select=Select.GROUP,
            source=Source.STATE,
            function=_GELU[model.activation],
            target_buffer=Target.CODES,
            target_stride=model.predictor,
            **stored,
        )
        self.linear(
            "predictor.score",
            "predict",
            stacked=True,
            codes=self.network.linears["predictor.score"].codes[:, :, order],
            select=Select.GROUP,
            source=Source.CODES,
            source_stride=model.predictor,
            target_buffer=Target.SCORES,
            target_stride=1,
            follow=1,
        )
        self.emit(
            "DROP",
            Symbol("layer{l}.keep"),
            opcode=Opcode.DROP,
            select=Select.GROUP,
            source_stride=1,
            score_align=self.network.frac["predict"] - EXP_IN_FRAC,
        )
        loop = self.emit("LOOP", None, opcode=Opcode.LOOP, target=group)
        self.instructions[group]["target"] = loop + 1

    def attend(self):
        network = self.network
        a = self.attention
        h = self.model.hidden
        context = self.hardware.tiles * a
        everything = {"select": Select.ALL, "source": Source.STATE}
        self.linear(
            "attention.query", "q", target_buffer=Target.CODES, target_stride=a, **everything
        )
        self.linear(
            "attention.key", "k", target_buffer=Target.KEYS, target_stride=a, follow=1, **everything
        )
        self.linear(
            "attention.value",
            "v",
            target_buffer=Target.VALUES,
            orders=self.value_orders,
            destinations=self.value_words,
            features=self.value_features,
            follow=1,
            **everything,
        )
        self.emit(
            "ATTEND",
            Symbol("layer{l}.context", network.frac["context"], self.context_features),
            opcode=Opcode.ATTEND,
            select=Select.ALL,
            groups=len(network.live_heads),
            reduction=self.model.head,
            shift=network.score_shift,
            score_align=network.frac["score"] - EXP_IN_FRAC,
            context_shift=network.context_shift,
            source_stride=a,
            target_base=context,
            target_stride=a,
            store_encode=self.encoder("context"),
        )
        self.linear(
            "attention.output",
            "attention",
            codes=network.linears["attention.output"].codes[:, self.context_features],
            select=Select.ALL,
            source=Source.CODES,
            source_base=context,
            source_stride=a,
            target_buffer=Target.SUM,
            target_stride=h,
        )
        self.norm(
            "attention.norm",
            "layer{l}.attention_norm",
            1,
            Select.ALL,
            Target.NORMED,
            source=Source.STATE,
            residual=1,
            align=network.residual_shift["attention"],
        )

    def feed_forward(self):
        h, ff = self.model.hidden, self.model.feed_forward
        order, stored = self.in_order("feed_forward.up")
        self.linear(
            "feed_forward.up",
            "hidden",
            select=Select.ALL,
            source=Source.NORMED,
            source_stride=h,
            function=_GELU[self.model.activation],
            target_buffer=Target.CODES,
            target_stride=ff,
            follow=1,
            **stored,
        )
        self.linear(
            "feed_forward.down",
            "ffn",
            codes=self.network.linears["feed_forward.down"].codes[:, order],
            select=Select.ALL,
            source=Source.CODES,
            source_stride=ff,
            target_buffer=Target.SUM,
            target_stride=h,
            follow=1,
        )
        self.norm(
            "feed_forward.norm",
            "layer{l}.feed_forward_norm",
            2,
            Select.ALL,
            Target.STATE,
            source=Source.NORMED,
            source_stride=h,
            residual=1,
            align=self.network.residual_shift["ffn"],
        )

    def exit(self):
        if self.early_exit:
            self.off_ramp("exit.", Select.NOT_LAST)
            self.decide(Select.NOT_LAST, groups=1)
        else:
            self.decide(Select.NOT_LAST, groups=0)
        self.off_ramp("", Select.LAST)
        self.decide(Select.LAST, groups=1, final=1)

    def off_ramp(self, ramp, select):
        """Pooler and classifier on the [CLS] rows; `pooled` lies behind everything else in CODES."""
        h, classes = self.model.hidden, self.model.classes
        base = self.hardware.tiles * max(
            2 * self.attention, self.model.feed_forward, self.model.predictor
        )
        order, stored = self.in_order(f"{ramp}pooler")
        self.linear(
            f"{ramp}pooler",
            "pooled",
            select=select,
            source=Source.CLS,
            cls=1,
            function=Function.TANH,
            target_buffer=Target.CODES,
            target_base=base,
            target_stride=h,
            follow=int(select == Select.NOT_LAST),
            **stored,
        )
        self.linear(
            f"{ramp}classifier",
            "logits",
            codes=self.network.linears[f"{ramp}classifier"].codes[:, order],
            select=select,
            source=Source.CODES,
            cls=1,
            source_base=base,
            source_stride=h,
            target_buffer=Target.SCORES,
            target_stride=classes,
            follow=1,
        )

    def decide(self, select, groups, final=0):
        self.emit(
            "EXIT",
            Symbol("layer{l}.entropy") if groups else None,
            opcode=Opcode.EXIT,
            select=select,
            groups=groups,
            final=final,
            reduction=self.model.classes,
            source_stride=self.model.classes,
            score_align=self.network.frac["logits"] - EXP_IN_FRAC,
        )

    # Values, and with them the context, are permuted inside each live head.

    def _order_values(self):
        """Each live head starts a group of columns; its order is that of the lanes, so that a word of VALUES is a group."""
        head, p = self.model.head, self.hardware.columns
        codes = self.network.linears["attention.value"].codes
        words = ceil_div(head, p)
        self.value_orders = sort_runs(codes, head)
        self.value_features = arrange_columns(np.asarray(codes), p, self.value_orders)  # (words, P)
        self.value_words = np.empty(self.attention, int)
        for word, features in enumerate(self.value_features):
            self.value_words[features[features >= 0]] = word
        self.context_features = self.value_features.reshape(-1, words * p)[:, :head].flatten()

    # Image.

    def constants(self):
        """(Memory, index, word) of LayerNorm parameters, spans, etas, DVFS table, work of a layer."""
        network, hardware = self.network, self.hardware
        width = hardware.widest
        for number, name in enumerate(("embedding.norm", "attention.norm", "feed_forward.norm")):
            norm = network.norms[name]
            for feature, (gamma, beta) in enumerate(
                zip(norm.gamma.tolist(), norm.beta.tolist(), strict=True)
            ):
                yield Memory.NORM, number * width + feature, gamma & 0xFFFF | (beta & 0xFFFF) << 16
        if "span" in hardware.units:
            for head, span in enumerate(network.span.tolist()):
                yield from (
                    (Memory.SPAN, head * hardware.positions + distance, value)
                    for distance, value in enumerate(span)
                )
        for unit, memory, words in (
            ("drop", Memory.ETA, network.eta.tolist()),
            ("dvfs", Memory.DVFS, network.dvfs_table),
            (
                "counters",
                Memory.WORK,
                [value for work in layer_work(network).values() for value in work],
            ),
        ):
            if unit in hardware.units:
                yield from ((memory, index, word) for index, word in enumerate(words))

    def image(self, embedding_hash):
        constants = list(self.constants())
        layout = Layout(
            len(self.instructions), len(constants), tuple(map(len, self.streams.values()))
        )
        for pc, address in zip(self.streams, layout.streams, strict=False):
            self.instructions[pc]["address"] = address
        words = tuple(tuple(isa.pack(**values)) for values in self.instructions)
        needed = units_needed(self.network) | {"exit": self.early_exit}
        units = sum(1 << UNITS.index(name) for name, need in needed.items() if need)
        image = build_image(
            layout,
            words,
            constants,
            list(self.streams.values()),
            config_hash=self.hardware.config_hash,
            embedding_hash=embedding_hash,
            layers=self.model.layers,
            classes=self.model.classes,
            heads=len(self.network.live_heads),
            positions=self.model.positions,
            vocabulary=self.model.vocabulary,
            exit_threshold=self.network.exit_threshold,
            units=units,
            embedding_width=self.model.embedding,
        )
        return words, image

    def embedding_image(self):
        word, position, segment = (
            np.asarray(self.network.tables[name].codes) for name in ("word", "position", "segment")
        )
        spare = np.zeros(
            (2 - len(segment), segment.shape[1]), segment.dtype
        )  # a model without segments has only the first
        return build_embedding(word, position, np.concatenate([segment, spare]))


_SOURCE_TENSOR = {
    "embedding.project": "embed",
    "predictor.hidden": "x",
    "attention.query": "x",
    "attention.key": "x",
    "attention.value": "x",
    "feed_forward.up": "attention_norm",
    "exit.pooler": "x",
    "pooler": "x",
}


def _tensor_name(output):
    return f"layer{{l}}.{output}"
