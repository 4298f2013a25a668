# SPDX-License-Identifier: Apache-2.0
"""The board as it is built, with tiny in its flash: what `terse board run` prints, over the line.

Minutes: `make board`.
"""

import cocotb
import pytest
from cocotb.task import bridge
from cocotb.triggers import FallingEdge

from firmware.driver import DriverError, SerialLink, Terse
from firmware.driver.board import board_windows, read_store
from firmware.error_codes import Error
from firmware.store import store_parts
from golden_model.hardware import HARDWARE
from hw.board.board import BAUD
from hw.board.kinds import board_kinds
from sim.bench import harness
from sim.bench.board.chips import Chips
from sim.bench.board.serial_line import power_on

BOARD = "ulx3s"
KIND = board_kinds()[BOARD]
TEXT = "a gripping film"
WORDS = 1 << 17  # half words of the memory: the image, a queue, results


@cocotb.test()
async def sentences(dut):
    """A real sentence; a token that there is not, a damaged image; each time the next is right."""
    from terse.board import run_on_board

    line = await power_on(dut, KIND.top(HARDWARE[KIND.hw], KIND.clock).clock, BAUD)
    await FallingEdge(dut.copying)

    def right(**options):
        report = run_on_board(line, BOARD, [TEXT], **options)
        assert report.bit_exact and report.failures == [], report.failures
        (row,) = report.sentences
        dut._log.info(f"class {row.prediction}, layer {row.exit_layer}, {row.cycles} cycles")

    def host():
        right()
        link = SerialLink(line)
        terse = Terse(link)
        (record,) = terse.classify([([1, 1 << 20], [0, 0])])
        assert record.status == Error.SENTENCE_TOKEN
        right()
        at = board_windows(terse, read_store(link)).image[0] + 400
        link.put(at, bytes(byte ^ 16 for byte in link.get(at, 4)))
        terse.reset()
        with pytest.raises(DriverError) as caught:
            terse.load(board_windows(terse, read_store(link)))
        assert caught.value.error == Error.IMAGE_CRC
        link.put(at, bytes(byte ^ 16 for byte in link.get(at, 4)))
        right()

    await bridge(host)()
    assert dut.wrong.value == 0


@pytest.mark.slow
def test_exact():
    from terse.artefacts import compile_images

    config = HARDWARE[KIND.hw]
    image, embedding, _ = compile_images("tiny", KIND.hw)
    clock = KIND.top(config, KIND.clock).clock
    chips = Chips(config, clock, BAUD, WORDS, store_parts(image, embedding))
    harness.run_bench(chips, "sim.proof.test_board", "exact_board", large=True)
