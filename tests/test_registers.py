# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path

import cmsis_svd
import pytest
from cmsis_svd.parser import SVDParser
from lxml import etree

from firmware import generate, registers
from firmware.error_codes import Error
from firmware.pages import PAGES
from firmware.registers import BY_NAME, REGISTERS
from golden_model.hardware import HARDWARE

ROOT = Path(__file__).parent.parent
SCHEMA = Path(cmsis_svd.__file__).parent / "schemas" / "CMSIS-SVD_1_3_11.xsd"


def test_offsets_are_distinct_words_of_the_window():
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset + 4 <= registers.SPAN for offset in offsets)
    assert len(BY_NAME) == len(REGISTERS)


@pytest.mark.parametrize("register", [r for r in REGISTERS if r.fields], ids=lambda r: r.name)
def test_fields_do_not_overlap(register):
    used = 0
    for bits in register.fields:
        assert not used & bits.mask and bits.mask < 1 << register.width
        used |= bits.mask


@pytest.mark.parametrize("name", HARDWARE)
def test_constants_fit_and_cover_what_depends_on_the_configuration(name):
    values = registers.constants(HARDWARE[name])
    assert set(values) == {r.name for r in REGISTERS if r.reset is None}
    assert all(0 <= value < 1 << BY_NAME[key].width for key, value in values.items())
    assert values["SHAPE"] >> 24 == HARDWARE[name].bus_bits // 8


def test_every_error_has_a_text():
    assert all(error.text for error in Error)
    assert Error.SENTENCE_TOKEN.is_sentence and not Error.NOT_LOADED.is_sentence


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name):
    assert (ROOT / "docs" / f"{name}.md").read_text() == PAGES[name](), (
        "run: python -m firmware.generate docs"
    )


def test_svd_is_valid():
    """Arm's own schema, as the package cmsis-svd carries it."""
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    tree = etree.fromstring(generate.svd().encode())
    assert schema.validate(tree), schema.error_log
    tree.find(".//addressOffset").text = "nowhere"
    assert not schema.validate(tree)


def test_svd_says_what_the_table_says(tmp_path):
    """As a debugger's parser reads it."""
    path = tmp_path / "terse.svd"
    path.write_text(generate.svd())
    (peripheral,) = SVDParser.for_xml_file(path).get_device().peripherals
    assert [interrupt.name for interrupt in peripheral.interrupts] == ["TERSE"]
    found = {register.name: register for register in peripheral.registers}
    assert list(found) == [register.name for register in REGISTERS]
    for register in REGISTERS:
        seen = found[register.name]
        assert seen.address_offset == register.offset
        assert (seen.reset_mask == 0) == (register.reset is None)
        assert seen.reset_value == (register.reset or 0)
        assert (seen.modified_write_values is not None) == (register.access == "w1c")
        assert seen.read_action is None
        fields = [(bits.low, bits.width) for bits in register.fields] or [(0, register.width)]
        assert [(field.bit_offset, field.bit_width) for field in seen.fields] == fields
    codes = found["ERROR"].fields[0].enumerated_values[0].enumerated_values
    assert {value.name: value.value for value in codes} == {e.name: int(e) for e in Error}


def test_header_compiles(tmp_path):
    """The generated C header compiles alone, as C99 without a warning."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    (tmp_path / "terse_regs.h").write_text(generate.c_header())
    source = (
        '#include "terse_regs.h"\n'
        "int x = TERSE_SHAPE_TOKENS(TERSE_WATCHDOG) + TERSE_ERROR_WATCHDOG;\n"
    )
    subprocess.run(
        [
            "gcc",
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-I",
            tmp_path,
            "-x",
            "c",
            "-c",
            "-",
            "-o",
            tmp_path / "o",
        ],
        input=source.encode(),
        check=True,
    )
