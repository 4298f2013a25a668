# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from firmware import generate, registers
from firmware.error_codes import Error
from firmware.pages import PAGES
from firmware.registers import BY_NAME, REGISTERS
from golden_model.hardware import HARDWARE

ROOT = Path(__file__).parent.parent


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


def test_svd_lists_every_register():
    tree = ElementTree.fromstring(generate.svd().encode())
    found = {r.findtext("name"): int(r.findtext("addressOffset"), 0) for r in tree.iter("register")}
    assert found == {r.name: r.offset for r in REGISTERS}


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
