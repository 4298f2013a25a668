# SPDX-License-Identifier: Apache-2.0
"""The control flow of a program: it begins with ADMIT, and every way through it comes back there.

The machine bounds the instructions of a pass and the passes of a sentence while it runs; this finds
in a file what would only end there.
"""

from firmware import isa
from firmware.error_codes import Error
from firmware.image import require
from firmware.isa import Opcode

__all__ = ["check_flow"]


def check_flow(program):
    """Raise `ImageError` where an instruction of a program's words leads nowhere or in a circle.

    ADMIT ends a queue and begins a pass; GROUP has one slot less to choose each time. So a circle
    without either is endless.
    """
    codes = [Opcode(isa.unpack(words, "opcode")) for words in program]
    following = [_following(pc, code, program[pc]) for pc, code in enumerate(codes)]
    require(
        codes[0] == Opcode.ADMIT,
        Error.ILLEGAL_OPCODE,
        f"Instruction 0 must be ADMIT, not {codes[0].name}",
    )
    for pc, after in enumerate(following):
        require(
            max(after) < len(program),
            Error.ILLEGAL_OPCODE,
            f"Instruction {pc} must lead to one of 0..{len(program) - 1}, not {max(after)}",
        )
    bounded = {pc for pc, code in enumerate(codes) if code in (Opcode.ADMIT, Opcode.GROUP)}
    for pc in range(len(program)):
        circle = _circle(pc, following, bounded)
        require(
            not circle,
            Error.ENDLESS,
            f"Instruction {pc} must lead to an ADMIT or a GROUP, not back to itself",
        )


def _following(pc, code, words):
    """Where an instruction may lead."""
    target = isa.unpack(words, "target")
    return {Opcode.LOOP: (target,), Opcode.GROUP: (pc + 1, target)}.get(code, (pc + 1,))


def _circle(pc, following, bounded):
    """Whether the instruction leads back to itself past none of the `bounded` ones."""
    if pc in bounded:
        return False
    seen = set()
    left = list(following[pc])
    while left:
        at = left.pop()
        if at == pc:
            return True
        if at not in bounded and at not in seen:
            seen.add(at)
            left += following[at]
    return False
