# SPDX-License-Identifier: Apache-2.0
"""What the RISC-V program (firmware/bare_metal/main.c) says on the line, and what it should."""

from golden_model.model import NEVER
from sim.bench import harness

__all__ = ["check_answers"]


def check_answers(text, goldens):
    """The cycles of each sentence; AssertionError where a line is not as `goldens` say.

    text : bytes, up to the line "done"; goldens : the golden model's results, in their order
    """
    lines = [[int(word) for word in one.split()] for one in text.decode().splitlines()[:-1]]
    wanted = [
        (
            number,
            golden.predicted_class,
            golden.exit_layer,
            len(golden.dropped_at_layer),
            sum(layer != NEVER for layer in golden.dropped_at_layer),
        )
        for number, golden in enumerate(goldens)
    ]
    found = [
        (tag, label, layer, tokens, dropped) for tag, label, layer, _, tokens, dropped in lines
    ]
    harness.assert_same("tag, class, exit layer, tokens, dropped", found, wanted)
    return [line[3] for line in lines]
