# SPDX-License-Identifier: Apache-2.0
"""hw/board/soc.py: a program for RISC-V, with the C driver, asks eight sentences.

The program is compiled by Debian's compiler; without it there is nothing to run.
"""

import functools
import shutil

import cocotb
import pytest

from firmware.bare_metal import COMPILER, build_program
from firmware.compiler import compile_network
from firmware.store import store_parts
from golden_model.model import run as run_golden
from golden_model.random_model import random_sentences
from hw.board.cpu import cpu_verilog
from sim.bench import harness
from sim.bench.board.answers import check_answers
from sim.bench.board.chips import Chips
from sim.bench.board.serial_line import power_on
from sim.proof.system import CONFIG, SMALL_MODEL, random_network

CLOCK = 50e6
BAUD = 12.5e6
LONGEST = 80_000_000  # ns that the program may take
NAME = "soc"


@functools.cache
def compiled():
    network = random_network()
    return network, compile_network(network, CONFIG)


def asked():
    return random_sentences(SMALL_MODEL, 8, seed=6, low=3, high=12)


@cocotb.test()
async def eight_sentences(dut):
    """A line for each; then the program says that it is done."""
    network, _ = compiled()
    line = await power_on(dut, CLOCK, BAUD)
    text = await line.until(b"done\n", LONGEST)
    cycles = check_answers(text, [run_golden(network, *sentence) for sentence in asked()])
    assert len(cycles) == 8 and min(cycles) > 0
    assert dut.wrong.value == 0


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
def test_soc():
    folder = harness.BUILD / NAME / "program"
    program = build_program(folder, [(ids.tolist(), kinds.tolist()) for ids, kinds in asked()])
    _, images = compiled()
    chips = Chips(
        CONFIG, CLOCK, BAUD, 1 << 16, store_parts(images.image, images.embedding), program
    )
    harness.run_bench(chips, "sim.bench.board.test_soc", NAME, large=True, beside=cpu_verilog())
