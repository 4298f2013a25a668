# SPDX-License-Identifier: Apache-2.0
"""The board as it is built, with a RISC-V CPU in the host's place: eight real sentences of tiny.

Minutes: `make board`.
"""

import functools

import cocotb
import pytest

from firmware.bare_metal import build_program
from firmware.store import store_parts
from golden_model.hardware import HARDWARE
from golden_model.model import run as run_golden
from hw.board.board import BAUD
from hw.board.cpu import cpu_verilog
from hw.board.kinds import board_kinds
from sim.bench import harness
from sim.bench.board.answers import check_answers
from sim.bench.board.chips import Chips
from sim.bench.board.serial_line import power_on
from terse import catalog
from terse.board import simulate_latency
from terse.run import prepare

BOARD = "ulx3s"
KIND = board_kinds()[BOARD]
COUNT = 8
WORDS = 1 << 17  # half words of the memory: the image, a queue, results
LONGEST = 2_000_000_000  # ns that the program may take
NAME = "exact_soc"
NEAR = 100  # cycles differ by less than one part in so many: refreshes fall otherwise


@functools.cache
def asked():
    """(network, sentences) of the samples."""
    checkpoint, sentences, _ = prepare("tiny", (), count=COUNT)
    return catalog.network("tiny", checkpoint), sentences


@cocotb.test()
async def real_sentences(dut):
    """Class, exit layer, dropped words as golden; cycles near those of `terse board latency`."""
    network, sentences = asked()
    config = HARDWARE[KIND.hw]
    line = await power_on(dut, KIND.top(config, KIND.clock).clock, BAUD)
    text = await line.until(b"done\n", LONGEST)
    goldens = [run_golden(network, one.ids, one.segments) for one in sentences]
    cycles = check_answers(text, goldens)
    expected = simulate_latency(BOARD, count=COUNT)[config.slots]
    dut._log.info(f"cycles on the board {cycles}, in the co-simulation {expected}")
    for found, wanted in zip(cycles, expected, strict=True):
        assert abs(found - wanted) * NEAR < wanted
    assert dut.wrong.value == 0


@pytest.mark.slow
def test_exact_soc():
    from terse.artefacts import compile_images

    config = HARDWARE[KIND.hw]
    image, embedding, _ = compile_images("tiny", KIND.hw)
    folder = harness.BUILD / NAME / "program"
    _, sentences = asked()
    program = build_program(folder, [(one.ids, one.segments) for one in sentences])
    clock = KIND.top(config, KIND.clock).clock
    parts = store_parts(image, embedding)
    chips = Chips(config, clock, BAUD, WORDS, parts, program)
    harness.run_bench(chips, "sim.proof.test_soc", NAME, large=True, beside=cpu_verilog())
