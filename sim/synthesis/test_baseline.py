# SPDX-License-Identifier: Apache-2.0
"""The clock of small blocks after place and route, against that of the last time it was looked at.

A block that has lost more than 5 % of its clock fails here and is named. The file is made by

.venv/bin/terse timing --hw ci --block array --block norm --block store --block attention \
  --block issue --block rows --block drop --json sim/synthesis/baseline.json

which also tells those that take longer than a test may.
"""

import json
import pathlib

import pytest

from golden_model.hardware import HARDWARE
from sim.synthesis.timing import BLOCKS, time_block, worse

BASELINE = json.loads(pathlib.Path(__file__).with_name("baseline.json").read_text("utf-8"))


@pytest.mark.parametrize("block", ["issue", "rows", "drop"])
def test_clock(block):
    known = BASELINE[block]
    found = time_block(HARDWARE[known["hw"]], known["hw"], block, known["device"])
    assert worse({block: found.best.clock}, {block: known["best"]}) == []


def test_the_large_blocks_are_in_the_baseline():
    assert {"array", "norm", "store", "attention"} <= BASELINE.keys() <= BLOCKS.keys()
