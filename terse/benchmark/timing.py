# SPDX-License-Identifier: Apache-2.0
"""`terse bench --golden`: how long the golden model takes."""

import time

from golden_model.model import run
from terse import catalog
from terse.benchmark.cases import Passage, Stream
from terse.benchmark.data import has_data
from terse.benchmark.running import case_network, queue
from terse.evaluate import WORKERS, golden, golden_pool

__all__ = ["golden_times"]

BASE = Passage(tokens=128, layers=12)
DEV = Stream("tiny", sentences=872)
BASE_SECONDS, DEV_SECONDS = 10, 30  # wanted


def golden_times():
    """Yields a line for a sentence of albert-base, and one for SST-2's dev split through tiny."""
    quantized, words = case_network(BASE), queue(BASE)[0]
    begin = time.perf_counter()
    run(quantized, *words)
    yield _line(
        BASE_SECONDS,
        f"golden model, {BASE.model}, {BASE.layers} layers, 1 sentence of {BASE.tokens} tokens",
        begin,
    )
    sequences = queue(DEV)
    tiny = catalog.network(DEV.model, catalog.checkpoint(DEV.model))
    begin = time.perf_counter()
    with golden_pool(tiny) as pool:
        pool.map(golden, sequences, chunksize=8)
    source = "SST-2's dev split" if has_data() else "the samples, again and again"
    yield _line(
        DEV_SECONDS,
        f"golden model, {DEV.model}, {DEV.sentences} sentences of {source}, {WORKERS} processes",
        begin,
    )


def _line(wanted, what, begin):
    return f"{what}: {time.perf_counter() - begin:.1f} s (wanted: less than {wanted} s)"
