# SPDX-License-Identifier: Apache-2.0
"""`python -m sim.proof.every_shape` without a simulator: shapes, what is kept and done again."""

import pytest

from firmware.compiler import compile_network
from golden_model.config import MODELS
from golden_model.quantize import quantize
from golden_model.random_model import random_checkpoint
from sim.proof import every_shape
from sim.proof.check import Outcome

LANES = (4, 4), (8, 8)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs of shapes that are not kept; `wrong` shapes differ, in `stopped` ones Ctrl-C comes."""

    class Runs(list):
        wrong, stopped = (), ()

    def run(self, hardware, number, watch):
        lanes = hardware.tokens, hardware.columns
        if lanes in made.stopped:
            raise KeyboardInterrupt
        made.append((*lanes, number))
        watch(1, 2, 3)
        return Outcome(
            [],
            elements=1000,
            cycles=20,
            failures=["x[0] must be 1, not 2"] if lanes in made.wrong else [],
        )

    made = Runs()
    monkeypatch.setattr(every_shape, "STORE", tmp_path / "shapes")
    monkeypatch.setattr(every_shape.Run, "outcome", run)
    monkeypatch.setattr(every_shape.build, "build", lambda hardware, make: None)
    return made


def test_shapes():
    """Those that `make shapes` promises."""
    square = {(n, n) for n in (2, 4, 8, 16, 32)}
    wide = {lanes for lanes in every_shape.SHAPES if lanes[0] * lanes[1] == 256}
    assert set(every_shape.SHAPES) == square | wide and len(wide) == 5


@pytest.mark.parametrize("lanes", every_shape.SHAPES)
def test_models_compile(lanes):
    hardware = every_shape.config(*lanes)
    assert hardware.tiles >= 2 and hardware.slots > 2
    for name in {run.model for run in every_shape.RUNS} - {"tiny"}:
        compile_network(
            quantize(random_checkpoint(MODELS[name], calibration=1), hardware.format), hardware
        )


def test_one_line_a_shape(runs, capsys):
    assert every_shape.main(["4x4", "8x8"]) == 0
    values, cycles = 1000 * len(every_shape.RUNS), 20 * len(every_shape.RUNS)
    assert capsys.readouterr().out.splitlines() == [
        f" {n} x {n}   {values:,} values compared, {cycles} cycles, bit-exact" for n in (4, 8)
    ] + ["2 of 2 shapes bit-exact"]
    assert runs == [
        (*lanes, number) for lanes in LANES for number in range(1, len(every_shape.RUNS) + 1)
    ]


def test_goes_on_after_ctrl_c(runs, capsys):
    runs.stopped = [(8, 8)]
    assert every_shape.main(["4x4", "8x8"]) == every_shape.STOPPED
    assert capsys.readouterr().out.endswith(
        "Stopped in 8 x 8; the same command goes on from here\n"
    )
    runs.clear()
    runs.stopped = ()
    assert every_shape.main(["4x4", "8x8"]) == 0
    assert {run[:2] for run in runs} == {(8, 8)}


def test_a_difference_is_not_kept(runs, capsys):
    runs.wrong = [(4, 4)]
    assert every_shape.main(["4x4", "8x8"]) == 1
    output = capsys.readouterr().out
    assert (
        f"nano, run 1 of {len(every_shape.RUNS)}: x[0] must be 1, not 2" in output
        and output.endswith("1 of 2 shapes bit-exact\n")
    )
    runs.clear()
    runs.wrong = ()
    assert every_shape.main(["4x4", "8x8"]) == 0
    assert {run[:2] for run in runs} == {(4, 4)}


def test_a_changed_source_begins_again(runs, monkeypatch):
    every_shape.main(["4x4"])
    monkeypatch.setattr(every_shape.build, "sources_digest", lambda: "other")
    every_shape.main(["4x4"])
    assert len(runs) == 2 * len(every_shape.RUNS)


def test_unknown_shape(capsys):
    with pytest.raises(SystemExit):
        every_shape.main(["5x5"])
    assert "shape must be one of 64x4, 32x8, " in capsys.readouterr().err
