# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from golden_model.hardware import HARDWARE, HardwareConfig
from sim.synthesis.area import main, over, parse, table
from sim.synthesis.netlist import count_blocks


def stat(luts, top="terse"):
    """What stands beside a netlist of `luts` LUT4, of which a block `core` has 100."""
    return json.dumps(
        {
            f"{top}.core": {"LUT4": 100, "CCU2C": 10, "DP16KD": 2, "GSR": 1},
            top: {
                "LUT4": luts,
                "CCU2C": 12,
                "DP16KD": 2,
                "TRELLIS_DPR16X4": 3,
                "MULT18X18D": 5,
            },
        }
    )


def test_blocks_count_what_is_in_them():
    cells = {
        "core.store.x_LUT4_Z": {"type": "LUT4"},
        "core$7.y_LUT4_Z": {"type": "LUT4"},
        "core.z_TRELLIS_FF_Q": {"type": "TRELLIS_FF"},
        "pll": {"type": "EHXPLLL"},
    }
    assert count_blocks(cells, "top") == {
        "top": {"LUT4": 2, "TRELLIS_FF": 1, "EHXPLLL": 1},
        "top.core": {"LUT4": 2, "TRELLIS_FF": 1},
        "top.core.store": {"LUT4": 1},
    }


def test_parse_adds_up():
    blocks = parse(stat(107))
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
    path.write_text(stat(luts))
    assert main(path) is status
    assert text in capsys.readouterr().out


def test_array_alone(tmp_path, capsys, monkeypatch):
    """Verilog by the file's name; logic cells for each MAC, and no word on whether it fits."""
    monkeypatch.setitem(HARDWARE, "small", HardwareConfig(tokens=2, columns=2))
    main(tmp_path / "small_array_fabric.v")
    assert "module array(" in (tmp_path / "small_array_fabric.v").read_text()
    (tmp_path / "small_array_fabric.stat").write_text(stat(400_000, "array"))
    assert main(tmp_path / "small_array_fabric.stat") is False
    printed = capsys.readouterr().out
    assert "array: 100006.0 logic cells" in printed and "fit" not in printed
