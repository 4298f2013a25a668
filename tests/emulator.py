# SPDX-License-Identifier: Apache-2.0
"""An interpreter of images: the machine, operation by operation, on the golden model's blocks.

It reads only the two images and the hardware's sizes, so that it shows what the compiler put there;
buffers begin full of rubbish. `tensors` collects what each instruction made, by the program's
symbols, for comparison with the golden model.
"""

from dataclasses import dataclass, field

import torch

from firmware import isa
from firmware.buffers import buffer_words
from firmware.columns import PADDING, unpack_columns
from firmware.constants import Memory, name_constants
from firmware.embedding_image import parse_embedding
from firmware.image import parse_image
from firmware.image_match import check_image
from firmware.isa import Function, Opcode, Select, Source, Target
from golden_model import softmax
from golden_model.adaptivfloat import decode_integer, encode_fixed
from golden_model.config import NEVER
from golden_model.embedding import embedding_sum
from golden_model.entropy import entropy_sums, is_sure, reported_entropy
from golden_model.fixed import ACT_BITS, round_shift, saturate
from golden_model.formats import EXP_IN_FRAC
from golden_model.functions import tanh
from golden_model.gelu import gelu
from golden_model.hardware import ceil_div
from golden_model.layernorm import layernorm
from golden_model.queue import Queue, Resident
from golden_model.requantize import requantize
from golden_model.token_drop import keep

RUBBISH = 0x35


@dataclass(eq=False)
class Slot(Resident):
    """A resident sentence: its rows in the table are start .. start + rows - 1.

    positions : of its live tokens; result : of the queue, so far
    """

    start: int = 0
    positions: list = field(default_factory=list)
    result: dict = field(default_factory=lambda: {"entropies": [], "live": []})


class Instruction:
    def __init__(self, words):
        self.words = words

    def __getattr__(self, name):
        return isa.unpack(self.words, name)


class Machine:
    """Runs queues of sentences; `tensors` and results are by sentence number."""

    def __init__(self, program, threshold=None):
        self.hardware, self.symbols = program.hardware, program.symbols
        self.image, self.embedding = parse_image(program.image), parse_embedding(program.embedding)
        check_image(self.image, self.hardware, self.embedding)
        self.threshold = self.image.exit_threshold if threshold is None else threshold
        hw = self.hardware
        t = self.hardware.tokens
        fmt = self.hardware.format
        self.fmt = fmt
        words = buffer_words(hw)
        self.memory = {
            target: torch.full((words[target.name.lower()], t), RUBBISH)
            for target in (Target.SUM, Target.NORMED, Target.KEYS, Target.CODES, Target.SCORES)
        }
        self.values = torch.full((words["values"], hw.columns), RUBBISH)
        self.state = torch.full((hw.rows, hw.widest), RUBBISH)
        self.constants = name_constants(hw, self.image.constant_words)
        self.streams = {}
        self.tensors = {}
        self.results = {}
        self.passes = 0

    def run(self, sentences):
        """Run the program on [(ids, segments)] -> the result of each sentence, in order."""
        self.sentences = sentences
        lengths = [len(tokens) for tokens, _ in sentences]
        hw = self.hardware
        self.queue = Queue(lengths, hw.slots, hw.rows, self.image.layers, kind=Slot)
        self.tensors = {number: {} for number in range(len(sentences))}
        pc = 0
        while True:
            op = Instruction(self.image.program[pc])
            self.pc = pc
            opcode = Opcode(op.opcode)
            pc += 1
            if opcode == Opcode.ADMIT:
                self.passes += 1
                if not self.admit(op):
                    return [self.results[number] for number in range(len(sentences))]
            elif opcode == Opcode.LOOP:
                pc = op.target
            elif opcode == Opcode.GROUP:
                pc = pc if self.queue.next_group() else op.target
            elif selected := self.queue.selected(Select(op.select).name):
                getattr(self, opcode.name.lower())(op, selected)

    # Rows and buffers.

    def settle(self):
        """Rows follow each other in the order of the residents."""
        starts = self.queue.starts()
        for slot in self.queue.residents:
            slot.start = starts[slot.slot]

    def move(self, kept):
        """Rows move with the table here: `state` is by logical row."""
        self.state[: len(kept)] = self.state[kept].clone()

    def rows(self, slots):
        return [row for slot in slots for row in range(slot.start, slot.start + slot.rows)]

    def read(self, buffer, base, stride, rows, features):
        """(rows, features) of a tile buffer."""
        t = self.hardware.tokens
        rows = torch.as_tensor(rows)
        address = base + (rows // t)[:, None] * stride + torch.arange(features)
        return self.memory[buffer][address, (rows % t)[:, None]]

    def write(self, buffer, base, stride, rows, features, values):
        t = self.hardware.tokens
        rows = torch.as_tensor(rows)
        address = base + (rows // t)[:, None] * stride + torch.as_tensor(features)
        self.memory[buffer][address, (rows % t)[:, None]] = values

    def encode(self, act, offset):
        return encode_fixed(act, offset, 0, self.fmt)

    def note(self, slot, values, name=None):
        """Keep what this instruction made for one sentence."""
        name = name or self.symbols[self.pc].tensor
        self.tensors[slot.number][name.format(l=slot.layer)] = values

    # Operations.

    def admit(self, op):
        """Admit who fits; their embeddings go into STATE. Whether anybody is there."""
        admitted = self.queue.admit()
        self.settle()
        for slot in admitted:
            tokens, segments = self.sentences[slot.number]
            slot.positions = list(range(len(tokens)))
            slot.result["dropped"] = [NEVER] * len(tokens)
            total = self.embed(op, tokens, segments)
            self.state[self.rows([slot]), : op.reduction] = total
            self.note(slot, total)
        return bool(self.queue.residents)

    def embed(self, op, tokens, segments):
        """(n, E) ACT: the sum of three rows of the embedding image for each token."""
        positions = self.embedding.vocabulary
        of_segments = positions + self.embedding.positions
        rows = [
            torch.tensor([self.embedding.row(number) for number in numbers])
            for numbers in (
                tokens.tolist(),
                [positions + i for i in range(len(tokens))],
                [of_segments + segment for segment in segments.tolist()],
            )
        ]
        shifts = [op.word_shift, op.position_shift, op.segment_shift]
        return embedding_sum(*rows, shifts, self.fmt)

    def stream(self, op, slots):
        """Codes, biases, destinations and lanes of a LINEAR's columns, padding left out."""
        layer = slots[0].layer if op.stacked else 0
        if (self.pc, layer) not in self.streams:
            data = self.image.stream(self.pc, self.hardware.bus_bytes, layer)
            groups = unpack_columns(
                data, self.hardware.columns, self.hardware.bus_bytes, op.groups, op.reduction
            )
            found = [
                (c.codes, c.bias, c.destination, lane)
                for group in groups
                for lane, c in enumerate(group)
                if c.destination != PADDING
            ]
            self.streams[self.pc, layer] = [torch.tensor(part) for part in zip(*found, strict=True)]
        return self.streams[self.pc, layer]

    def linear(self, op, slots):
        """Rows times columns, requantized, through `function`, into the target buffer."""
        codes, bias, destinations, lanes = self.stream(op, slots)
        rows = [slot.slot for slot in slots] if op.cls else self.rows(slots)
        if op.source == Source.CODES:
            x = self.read(Target.CODES, op.source_base, op.source_stride, rows, op.reduction)
        else:
            act = self.state[
                self.rows(slots) if op.source == Source.STATE else [slot.start for slot in slots],
                : op.reduction,
            ]
            if op.source == Source.NORMED:
                act = self.read(Target.NORMED, op.source_base, op.source_stride, rows, op.reduction)
            x = self.encode(act, op.encode)
        total = decode_integer(x, self.fmt).double() @ decode_integer(codes, self.fmt).double().T
        act = requantize(total.long(), bias, op.shift)
        if op.function != Function.NONE:
            act = saturate(round_shift(act, op.align), ACT_BITS)
            act = (
                tanh(act)
                if op.function == Function.TANH
                else gelu(act, Function(op.function).name.lower())
            )
        if op.target_buffer == Target.VALUES:
            self.values[
                destinations[None, :] * self.hardware.rows + torch.tensor(rows)[:, None], lanes
            ] = self.encode(act, op.store_encode)
        else:
            coded = op.target_buffer in (Target.CODES, Target.KEYS)
            self.write(
                op.target_buffer,
                op.target_base,
                op.target_stride,
                rows,
                destinations,
                self.encode(act, op.store_encode) if coded else act,
            )
        self.note_linear(op, slots, act, destinations, lanes)

    def note_linear(self, op, slots, act, destinations, lanes):
        features = self.symbols[self.pc].features
        if features is None:
            stored = destinations
        else:
            stored = torch.tensor(
                features[destinations] if features.ndim == 1 else features[destinations, lanes]
            )
        tensor = torch.empty_like(act)
        tensor[:, stored] = act
        counts = [1 if op.cls else slot.rows for slot in slots]
        for slot, part in zip(slots, tensor.split(counts), strict=True):
            self.note(slot, part)

    def norm(self, op, slots):
        """Sum, residual and LayerNorm of rows (n, reduction), each if asked for, to the target."""
        rows = self.rows(slots)
        x = 0 if op.skip_sum else self.read(Target.SUM, 0, op.reduction, rows, op.reduction)
        if op.residual:
            residual = (
                self.state[rows, : op.reduction]
                if op.source == Source.STATE
                else self.read(Target.NORMED, op.source_base, op.source_stride, rows, op.reduction)
            )
            x = saturate(round_shift(residual, op.align) + x, ACT_BITS)
        if op.normalize:
            width = self.hardware.widest
            words = torch.tensor(
                [self.constants[Memory.NORM][op.norm_set * width + i] for i in range(op.reduction)]
            )
            gamma, beta = ((half ^ 0x8000) - 0x8000 for half in (words & 0xFFFF, words >> 16))
            x = layernorm(x, gamma, beta, op.shift)
        if op.target_buffer == Target.STATE:
            self.state[rows, : op.reduction] = x
        else:
            self.write(
                Target.NORMED, op.target_base, op.target_stride, rows, range(op.reduction), x
            )
        for slot, part in zip(slots, x.split([slot.rows for slot in slots]), strict=True):
            self.note(slot, part)

    def drop(self, op, slots):
        """Drop rows with an exponential below eta times the mean, then close up the table."""
        kept_rows = []
        for slot in self.queue.residents:
            rows = self.rows([slot])
            if slot in slots:
                score = self.read(Target.SCORES, op.source_base, op.source_stride, rows, 1)[:, 0]
                e = softmax.numerator(score, op.score_align + EXP_IN_FRAC)
                verdict = keep(e, self.constants[Memory.ETA][slot.layer])
                self.note(slot, e, "layer{l}.predict_exp")
                self.note(slot, verdict)
                for position, stays in zip(slot.positions, verdict.tolist(), strict=True):
                    if not stays:
                        slot.result["dropped"][position] = slot.layer
                rows = [row for row, stays in zip(rows, verdict.tolist(), strict=True) if stays]
                slot.positions = [slot.positions[row - slot.start] for row in rows]
                slot.rows = len(rows)
            kept_rows += rows
        self.move(kept_rows)
        self.settle()

    def attend(self, op, slots):
        """Contexts (n, heads * d) of each slot from its own queries, keys and values, as codes."""
        h = op.groups
        d = op.reduction
        words = ceil_div(op.reduction, self.hardware.columns)
        for slot in slots:
            rows = self.rows([slot])
            q = self.read(Target.CODES, op.source_base, op.source_stride, rows, h * d).view(
                len(rows), h, d
            )
            k = self.read(Target.KEYS, 0, op.source_stride, rows, h * d).view(len(rows), h, d)
            address = torch.arange(h * words)[:, None] * self.hardware.rows + torch.tensor(rows)
            v = self.values[address].transpose(0, 1).reshape(len(rows), h, -1)[..., :d]
            q, k, v = (decode_integer(x, self.fmt).double().transpose(0, 1) for x in (q, k, v))
            score = requantize((q @ k.transpose(1, 2)).long(), 0, op.shift)
            e = softmax.numerator(score, op.score_align + EXP_IN_FRAC)
            if "span" in self.hardware.units:
                e = softmax.mask_numerator(e, self.span(h, torch.tensor(slot.positions)))
            codes = softmax.encode_numerator(e, self.fmt)
            total = softmax.denominator(codes, self.fmt)
            accumulator = (decode_integer(codes, self.fmt).double() @ v).long()
            context = (
                softmax.context(accumulator, total[..., None], op.context_shift, self.fmt)
                .transpose(0, 1)
                .flatten(1)
            )
            self.write(
                Target.CODES,
                op.target_base,
                op.target_stride,
                rows,
                range(h * d),
                self.encode(context, op.store_encode),
            )
            tensor = torch.empty_like(context)
            tensor[:, torch.tensor(self.symbols[self.pc].features)] = context
            self.note(slot, score, "layer{l}.score")
            self.note(slot, tensor)

    def span(self, heads, positions):
        """(heads, n, n) factors of the attention span, by the distance of each two positions."""
        distance = (positions[:, None] - positions[None, :]).abs()
        return torch.stack(
            [
                torch.tensor(
                    [
                        [
                            self.constants[Memory.SPAN][head * self.hardware.positions + int(i)]
                            for i in row
                        ]
                        for row in distance
                    ]
                )
                for head in range(heads)
            ]
        )

    def exit(self, op, slots):
        """Entropies of the slots' logits; who is sure, or in the last layer, leaves."""
        leaving = []
        for slot in slots:
            if op.groups:
                logits = self.read(
                    Target.SCORES, op.source_base, op.source_stride, [slot.slot], op.reduction
                )[0]
                z, s = entropy_sums(logits, op.score_align + EXP_IN_FRAC)
                entropy = reported_entropy(z, s)
                self.note(slot, entropy)
                slot.result["entropies"].append(int(entropy))
                if op.final or is_sure(z, s, self.threshold):
                    leaving.append(slot)
                    slot.result |= {"logits": logits.tolist(), "exit_layer": slot.layer + 1}
            slot.result["live"].append(slot.rows)
        for slot in leaving:
            self.results[slot.number] = slot.result
        self.queue.advance(slots, leaving)
        self.move(self.rows(self.queue.residents))
        self.settle()
