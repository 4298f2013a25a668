# SPDX-License-Identifier: Apache-2.0
import pytest

from firmware import isa
from firmware.isa import FIELDS, Opcode
from firmware.show import SHOWN, disassemble


@pytest.mark.parametrize("opcode", Opcode)
def test_fields_of_an_operation_do_not_overlap(opcode):
    used = {}
    for name in ("opcode", *SHOWN[opcode]):
        field = FIELDS[name]
        assert field.word < isa.WORDS and field.low + field.width <= 32
        for bit in range(field.low, field.low + field.width):
            assert (field.word, bit) not in used, f"{name} and {used.get((field.word, bit))}"
            used[field.word, bit] = name


@pytest.mark.parametrize("name", FIELDS)
def test_pack_and_unpack(name):
    field = FIELDS[name]
    low = -(1 << (field.width - 1)) if field.signed else 0
    high = (1 << (field.width - field.signed)) - 1
    for value in (low, high, 1 if high >= 1 else 0):
        words = isa.pack(**{name: value})
        assert len(words) == isa.WORDS and isa.unpack(words, name) == value
        assert sum(words) == (value & ((1 << field.width) - 1)) << field.low
    with pytest.raises(
        ValueError, match=rf"Instruction field {name} must be in {low}\.\.{high}, not {high + 1}"
    ):
        isa.pack(**{name: high + 1})


def test_disassemble():
    words = isa.pack(
        opcode=Opcode.LINEAR,
        select=isa.Select.NEW,
        source=isa.Source.NORMED,
        reduction=64,
        groups=8,
        align=-3,
    )
    assert (
        disassemble(words)
        == "LINEAR select=NEW source=NORMED reduction=64 groups=8 align=-3 target_buffer=SUM"
    )
    assert disassemble([0xEE, *[0] * 7]).startswith("ILLEGAL 000000ee")
