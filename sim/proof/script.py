# SPDX-License-Identifier: Apache-2.0
"""One program of a host, for every place where there is a machine: co-simulation, board, Linux."""

from firmware.driver import Terse, Windows

__all__ = ["answers"]


def answers(terse: Terse, windows: Windows, sentences):
    """Reset, load, ask, and look whether the machine says the same in all its ways."""
    terse.reset()
    terse.irq_acknowledge(terse.irq_state())  # of what came before
    terse.load(windows)
    terse.irq_enable(["DONE", "ERROR"])
    records = terse.classify(sentences)
    assert terse.finished() == len(records) == len(sentences)
    assert terse.irq_state() == {"DONE", "LOADED"} and not terse.status()["ERROR"]
    terse.irq_acknowledge(terse.irq_state())
    counted = terse.counters()
    assert not counted["CYCLES"] or counted["CYCLES"] >= max(one.cycles for one in records)
    return records
