# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.hardware import HARDWARE, HardwareConfig
from sim.synthesis.area import main, over, parse, table

STAT = """
=== terse.core ===

      100      100   LUT4
       10       10   CCU2C
        2        2   DP16KD

=== terse ===

    {luts}        7   LUT4
       12        2   CCU2C
        2        -   DP16KD
        3        -   TRELLIS_DPR16X4
        5        -   MULT18X18D

=== design hierarchy ===

      999        -   LUT4
"""


def test_parse_counts_blocks_within():
    blocks = parse(STAT.format(luts=107))
    assert blocks["terse"]["logic"] == 107 + 2 * 12 + 6 * 3 and blocks["terse"]["block RAM"] == 2
    assert blocks["terse.core"]["LUT4"] == 100 and set(blocks) == {"terse", "terse.core"}
    assert over(blocks["terse"]) == []
    assert list(table(blocks, depth=0))[2:] == ["| terse | 149 | 107 | 12 | 5 | 2 | 3 | 0 |"]


@pytest.mark.parametrize(
    ("luts", "text", "status"),
    [(107, "fits", False), (90_000, "does not fit an LFE5U-85F: logic 90042 of 83640", True)],
)
def test_report(tmp_path, capsys, luts, text, status):
    path = tmp_path / "x.stat"
    path.write_text(STAT.format(luts=luts))
    assert main(path) is status
    assert text in capsys.readouterr().out


def test_array_alone(tmp_path, capsys, monkeypatch):
    """Verilog by the file's name; logic cells for each MAC, and no word on whether it fits."""
    monkeypatch.setitem(HARDWARE, "small", HardwareConfig(tokens=2, columns=2))
    main(tmp_path / "small_array_fabric.v")
    assert "module array(" in (tmp_path / "small_array_fabric.v").read_text()
    (tmp_path / "small_array_fabric.stat").write_text(
        STAT.format(luts=400_000).replace("terse", "array")
    )
    assert main(tmp_path / "small_array_fabric.stat") is False
    printed = capsys.readouterr().out
    assert "array: 100006.0 logic cells" in printed and "fit" not in printed
