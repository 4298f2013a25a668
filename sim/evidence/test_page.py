# SPDX-License-Identifier: Apache-2.0
"""The page of evidence is that of the sources, and each test of the diary is there."""

import re

import pytest

from sim.cosim.build import ROOT
from sim.evidence.diary import DIARY
from sim.evidence.page import evidence_page


def test_page_is_current():
    page = (ROOT / "docs" / "verification.md").read_text()
    assert page == evidence_page(), "run: python -m sim.evidence.page > docs/verification.md"


@pytest.mark.parametrize("fault", DIARY, ids=range(len(DIARY)))
def test_the_diary_s_tests_are_there(fault):
    path, _, name = fault.test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
