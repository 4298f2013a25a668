# SPDX-License-Identifier: Apache-2.0
"""An ALBERT of another geometry, compressed by a recipe, through the RTL bit for bit."""

from compress.huggingface.albert import hardware_for_albert
from compress.recipes.result import write_result
from golden_model.quantize import quantize
from sim.proof.check import check
from tests.recipes import from_albert, toy_data, toy_run

TEXTS = ("a warm film", "the plot and story of a dull film", "sour", "great story and a plot")


def test_compressed_albert(tmp_path):
    data = toy_data(tmp_path / "data")
    run = toy_run(tmp_path, data, from_albert(tmp_path))
    checkpoint = write_result(run, tmp_path / "out", "")
    checkpoint.exit_threshold = 0.69  # some leave early
    encoded = [run.tokenizer.encode(text) for text in TEXTS]
    outcome = check(
        quantize(checkpoint, checkpoint.format),
        hardware_for_albert(checkpoint.model),
        [(one.ids, one.segments) for one in encoded],
    )
    assert not outcome.failures
