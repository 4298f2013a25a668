# SPDX-License-Identifier: Apache-2.0
"""Faults that were found in Terse, and the test that would find each again."""

from dataclasses import dataclass

__all__ = ["DIARY", "Fault"]


@dataclass(frozen=True)
class Fault:
    """What was wrong, how it was found, and "file::test" that fails where it comes back."""

    what: str
    how: str
    test: str


DIARY = (
    Fault(
        "A bit of the weights or the program that flipped behind a load: status ok, wrong result.",
        "flipping bits in memory behind a load",
        "sim/proof/test_faults.py::test_bit_flipped_behind_a_load",
    ),
    Fault(
        "A program of zeros was a program that had ended: the queue was done without results.",
        "memory that reads as zeros",
        "sim/proof/test_faults.py::test_memory_of_zeros",
    ),
    Fault(
        "A program in a circle that works went on for ever: progress puts WATCHDOG off.",
        "mutants of images",
        "sim/proof/test_faults.py::test_program_of_a_circle_that_works",
    ),
    Fault(
        "Rows of the embedding image could stand in for each other, and zeros passed as a row.",
        "exchanging rows, flipping bits of the row table",
        "tests/test_image.py::test_no_row_passes_for_another_one",
    ),
    Fault(
        "Registers written in a run changed it; a result went outside the window of its START.",
        "writing registers in a run",
        "sim/proof/test_faults_registers.py::test_registers_rewritten_in_a_run",
    ),
    Fault(
        "An image without constants ran on those of the image before; one of no layers loaded.",
        "images with a header word changed and the CRC made right",
        "sim/proof/test_faults.py::test_header",
    ),
    Fault(
        "Damaged images with a right CRC ended in a traceback, or took gigabytes.",
        "mutants of images",
        "tests/test_image_rules.py::test_mutants_of_an_image",
    ),
    Fault(
        "The machine ran instructions that the reader of images refuses.",
        "comparing what both refuse",
        "sim/proof/test_faults.py::test_illegal_field",
    ),
    Fault(
        "The high word of a counter was another counter's when an interrupt read one between.",
        "reading the driver",
        "tests/test_host.py::test_counter_that_carries_while_it_is_read",
    ),
    Fault(
        "Test tools brought a package under the GPL and one without a licence.",
        "a list of licences",
        "tests/test_licences.py::test_page_has_what_is_installed",
    ),
    Fault(
        "AXI4-Lite's ready followed from valid within a cycle: a loop behind a bridge.",
        "a bridge in simulation",
        "sim/bench/bus/test_registers.py::ready_from_registers",
    ),
    Fault(
        "The SVD file was against its schema.",
        "Arm's schema",
        "tests/test_registers.py::test_svd_says_what_the_table_says",
    ),
    Fault(
        "The cycle model counted the bursts that a port holds for each of its two readers.",
        "weight streams that became a word longer",
        "sim/cycles/test_model.py::test_within_one_percent",
    ),
    Fault(
        "`make wheel` ended in a traceback behind a run that was right.",
        "a type checker",
        "tests/test_cli.py::test_wheel_tells_the_cycles",
    ),
    Fault(
        "Without Icarus a bench that fails ended in a compiler's error instead of a waveform.",
        "a machine without Icarus",
        "sim/evidence/test_harness.py::test_failure_shows_the_first_difference",
    ),
)
