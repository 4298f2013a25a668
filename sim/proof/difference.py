# SPDX-License-Identifier: Apache-2.0
"""What a comparison is of, and how it says that something differs."""

from dataclasses import dataclass

import numpy as np

from firmware.isa import Opcode

__all__ = ["Difference", "DifferenceError", "traced_tensors"]

DROP_TENSORS = ("predict_hidden", "predict", "predict_exp", "keep", "rows")
EXIT_TENSORS = ("pooled", "logits", "entropy")


@dataclass(frozen=True)
class Difference:
    """The first value that is not as it should be."""

    tensor: str
    sentence: int
    index: tuple
    expected: int | None
    found: int | None
    cycle: int
    pc: int

    def __str__(self):
        place = f"{self.tensor}[{', '.join(map(str, self.index))}] of sentence {self.sentence}"
        where = f"cycle {self.cycle}, instruction {self.pc}"
        if self.expected is None:
            return f"{place} is {self.found}, the golden model has no such value ({where})"
        return f"{place} must be {self.expected}, not {self.found} ({where})"


class DifferenceError(AssertionError):
    """Raised at the first `difference`."""

    def __init__(self, difference):
        super().__init__(str(difference))
        self.difference = difference


def traced_tensors(result, program):
    """A golden Result's tensors as int64 arrays: those that the program has an operation for.

    A program without DROP (eta is 0 everywhere) has no predictor, one without early exit no
    off-ramp below the last layer.
    """
    drops = any(values["opcode"] == Opcode.DROP for values in program.instructions)
    last = f"layer{len(result.entropies) - 1}"
    tensors = {}
    for name, tensor in result.tensors.items():
        layer, _, plain = name.partition(".")
        if (drops or plain not in DROP_TENSORS) and (
            program.early_exit or plain not in EXIT_TENSORS or layer == last
        ):
            tensors[name] = np.asarray(tensor, dtype=np.int64)
    return tensors
