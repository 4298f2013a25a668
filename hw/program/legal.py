# SPDX-License-Identifier: Apache-2.0
"""Whether an instruction is one that a compiler writes: the table of firmware/image_rules.py."""

from amaranth import Cat, Const

from firmware.image_rules import RULES

__all__ = ["legal"]


def legal(op, facts):
    """Whether the fields that an instruction's opcode has are allowed; a Value of one bit.

    op : View of instruction_layout()
    facts : numbers that the table's bounds name: of the image, or of the configuration
    """
    return Cat(
        (op.opcode == opcode)
        & Cat(Const(1), *(_allowed(op[name], rule, facts) for name, rule in fields.items())).all()
        for opcode, fields in RULES.items()
    ).any()


def _allowed(value, rule, facts):
    """Whether a field is one of a set, or between two bounds."""
    if isinstance(rule, frozenset):
        return Cat(value == member for member in sorted(rule)).any()
    low, high = (facts[bound] if isinstance(bound, str) else bound for bound in rule)
    return (value >= low) & (value <= high)
