# SPDX-License-Identifier: Apache-2.0
"""Who answers a stage's questions about its rows: logits, saliency, hidden states, attention maps.

Logits and saliency are computed once for all rows and kept under a fingerprint; hidden states and
maps are too large to keep, so the teacher computes them beside the student.
"""

import dataclasses
import functools
from typing import Any

import torch
from rich.progress import track

from compress.data.rows import batches
from compress.data.text_files import DataError
from compress.losses import saliency
from compress.recipes.device import half_precision

__all__ = ["Teacher", "aligned_ids"]

KEPT = ("logits", "saliency")
LIVE = ("hidden", "maps")
ROWS = 64  # a batch of questions
PART = 1 << 15  # rows whose answers are kept together


def aligned_ids(ours, theirs):
    """(V,) the teacher's id of each piece of ours, None where it lacks one and cuts otherwise.

    ours, theirs : compress.tokens.tokenizer.SentenceTokenizer
    """
    table = theirs.tokenizer.get_vocab()
    pieces = ours.tokenizer.get_vocab()
    if not pieces.keys() <= table.keys():
        return None
    ids = torch.zeros(max(pieces.values()) + 1, dtype=torch.long)  # a vocabulary may have gaps
    for piece, number in pieces.items():
        ids[number] = table[piece]
    return ids


class Teacher:
    """A network with the rows of a stage as it encodes them.

    Parameters
    ----------
    network : compress.network.Network, or an encoder of the same call
    examples : the stage's rows in the teacher's own tokens, in the stage's order
    aligned : ids of the teacher by ids of the student, (V,), where both cut texts alike; needed
        for what is asked token by token
    """

    def __init__(self, network, examples, aligned: Any = None):
        self.network, self.examples, self.aligned = network.eval(), examples, aligned
        self._kept = {}
        self._maps = False
        self._last: tuple[Any, Any] = (None, None)  # a batch and the answer to it

    @property
    def layers(self):
        return self.network.config.layers

    @property
    def width(self):
        """Features of its hidden states."""
        return self.network.config.hidden

    def prepare(self, signals, store, inputs):
        """Have the answers that are kept: taken from the store, or computed with a bar.

        Raises DataError where answers token by token are asked for and texts are cut otherwise.
        """
        if self.aligned is None and signals & set(LIVE):
            raise DataError(
                "Student must have pieces of its teacher's vocabulary ([words] origin encoder), or "
                f"not ask for {' or '.join(LIVE)}"
            )
        self._maps = "maps" in signals
        for signal in KEPT:
            if signal in signals:
                asked = {**inputs, "signal": signal}
                make = functools.partial(self._in_parts, signal, store, asked)
                self._kept[signal] = store.kept(signal, asked, make)

    def _in_parts(self, signal, store, inputs):
        """The answers for all rows; an interruption costs no more than the PART it falls into."""
        compute, join = getattr(self, f"_{signal}"), getattr(self, f"_join_{signal}")
        count = len(self.examples)
        parts = [(start, min(start + PART, count)) for start in range(0, count, PART)]
        if len(parts) == 1:
            return join([compute(0, count)])
        return join(
            [
                store.kept(
                    f"{signal}-part", {**inputs, "part": part}, functools.partial(compute, *part)
                )
                for part in parts
            ]
        )

    def ask(self, signal, batch):
        """logits (B,C) or saliency (B,n) for a batch of rows; hidden or maps as in its `Output`."""
        if signal in LIVE:
            return getattr(self._live(batch), signal)
        kept = self._kept[signal]
        if signal == "logits":
            return kept[batch.index].to(batch.labels.device, torch.float32)
        marks = torch.zeros(batch.inputs[2].shape)
        ends = kept["ends"]
        for row, index in enumerate(batch.index.tolist()):
            values = kept["values"][ends[index] : ends[index + 1]]
            marks[row, : len(values)] = values[: marks.shape[1]]
        return marks.to(batch.labels.device)

    def _ready(self):
        self.network.mode = self.network.settled()

    @torch.no_grad()
    def _live(self, batch):
        """The network's Output, the same one for several questions about a batch."""
        if self._last[0] is not batch:
            tokens, segments, live = batch.inputs
            self._ready()
            self.network.mode = dataclasses.replace(self.network.mode, maps=self._maps)
            ids = self.aligned.to(tokens.device)  # `prepare` saw to it that there are some
            with self._precision():
                found = self.network(ids[tokens], segments, live)
            found.hidden = [one.float() for one in found.hidden]
            self._last = batch, found
        return self._last[1]

    def _precision(self):
        """Answers are in bfloat16 where the device is made for it."""
        device = self.examples.device
        half = half_precision("auto", device)
        return torch.autocast(device.type, torch.bfloat16, enabled=half)

    @torch.no_grad()
    def _logits(self, start, end):
        """(end - start, C) of rows start..end-1."""
        self._ready()
        found = torch.zeros(end - start, self.network.config.classes)
        for index in self._batches("logits", start, end):
            with self._precision():
                output = self.network(*self.examples.batch(index).inputs)
            found[index - start] = output.logits[-1].float().cpu()
        return found

    def _saliency(self, start, end):
        """Marks of the rows behind each other as float16, and how many each has."""
        self._ready()
        marks: list[torch.Tensor] = [torch.empty(0)] * (end - start)
        for index in self._batches("saliency", start, end):
            _, shares = saliency(self.network, self.examples.batch(index))
            for row, values in zip(index.tolist(), shares.cpu(), strict=True):
                marks[row - start] = values[: self.examples.lengths[row]].half()
        return {"values": torch.cat(marks), "counts": torch.tensor([len(one) for one in marks])}

    def _join_logits(self, parts):
        return torch.cat(parts)

    def _join_saliency(self, parts):
        """`ends` says where each row's marks begin, and where the last one's end."""
        counts = torch.cat([torch.zeros(1, dtype=torch.long), *(part["counts"] for part in parts)])
        return {"values": torch.cat([part["values"] for part in parts]), "ends": counts.cumsum(0)}

    def _batches(self, signal, start, end):
        """Lists of row numbers of like length, with a bar."""
        some = [index + start for index in batches(self.examples.lengths[start:end], ROWS)]
        return track(some, f"asking the teacher: {signal} of rows {start} on", transient=True)
