# SPDX-License-Identifier: Apache-2.0
"""`terse eval`: accuracy and cost of three models on a whole split.

float: the uncompressed model. compressed: pruned weights, spans, drop and exit in float32, weights
and array inputs rounded to codes. golden: the integers that the machine computes.

FLOPs are counted as AdapLeR defines its speed-up: two per multiplication of a matrix product, real
lengths without padding, tokens of a layer counted after its drop, total of the uncompressed model
over total of ours, predictors and off-ramps included. Survivors are those of the golden model,
counted, and layers after the exit cost nothing.
"""

import multiprocessing
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import torch

from compress.calibrate import Measured, measure, paired_loss
from compress.data.rows import Examples
from compress.data.tasks import find_task
from compress.export import network_of
from compress.prune import EMBEDDING, ENCODER_WEIGHTS, sparsity
from golden_model.checkpoint import Checkpoint
from golden_model.config import NumberFormat
from golden_model.model import Ids, run
from golden_model.network import Network
from sim.cosim.processes import follow_parent
from terse import catalog

__all__ = ["evaluate", "flops", "golden", "golden_pool", "measure_dense"]

WORKERS = 2
ENCODER_LINEARS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "feed_forward.up",
    "feed_forward.down",
)


def evaluate(
    model: str,
    task: str,
    split: str,
    data: str | pathlib.Path,
    fmt: NumberFormat | None = None,
    dense: Measured | None = None,
) -> dict[str, Any]:
    """The dict that `--json` writes (fractions 0..1).

    fmt : number format, by default the one that the model was made for
    dense : what the uncompressed model measures on these rows, by default that of the checkpoint
    """
    begin = time.perf_counter()
    checkpoint = catalog.checkpoint(model)
    network = catalog.network(model, checkpoint, fmt)
    encodings, examples = _rows(model, checkpoint, task, split, data)
    with golden_pool(network) as pool:
        running = pool.map_async(golden, examples.sequences, chunksize=8)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        dense = dense or measure(network_of(checkpoint, dense=True), examples)
        coded = measure(network_of(checkpoint, codes=network.fmt), examples)
        torch.set_num_threads(threads)
        found = running.get()
    exits = coded.exits(checkpoint.exit_threshold)
    chosen = coded.logits[exits - 1, torch.arange(len(exits))].argmax(-1)
    result = {
        "count": len(examples),
        "truncated": sum(encoding.truncated for encoding in encodings),
        "positions": checkpoint.model.positions,
        "labels": checkpoint.labels,
        "format": str(network.fmt),
        "seconds": 0.0,
        "layers": checkpoint.model.layers,
        "float": {"accuracy": dense.accuracy() / 100},
        "compressed": {"accuracy": coded.accuracy(exits) / 100},
    }
    result |= _golden_figures(found, chosen, examples, dense.right()) | _cost(checkpoint, found)
    return result | {"seconds": time.perf_counter() - begin}


def measure_dense(model: str, task: str, split: str, data: str | pathlib.Path) -> Measured:
    """What the uncompressed weights of a model measure on a split, all tokens in all layers."""
    checkpoint = catalog.checkpoint(model)
    _, examples = _rows(model, checkpoint, task, split, data)
    return measure(network_of(checkpoint, dense=True), examples)


def _rows(model, checkpoint, task, split, data):
    """(encodings, Examples) of a split as a model reads it."""
    labels = checkpoint.labels or tuple(map(str, range(checkpoint.model.classes)))
    rows = find_task(task, data, labels).rows(split)
    encodings = catalog.tokenizer(model, checkpoint.model.positions).encode_many(rows)
    sequences = [(e.ids, e.segments) for e in encodings]
    examples = Examples(sequences, [row.label for row in rows], checkpoint.model.positions)
    return encodings, examples


_network: Network | None = None  # of a worker process


def golden_pool(network: Network):
    """Processes for `golden`, which end with this one."""
    return multiprocessing.get_context("fork").Pool(WORKERS, _start, (network,))


def _start(network):
    global _network
    follow_parent()
    torch.set_num_threads(1)
    _network = network


def golden(sequence: tuple[Ids, Ids]) -> tuple[int, int, list[int]]:
    """(class, tokens entering, live tokens of each executed layer) of one sentence."""
    assert _network is not None
    result = run(_network, *sequence)
    return result.predicted_class, len(sequence[0]), result.tokens_per_layer


def _golden_figures(golden, compressed, examples, dense):
    """Accuracy of the golden model, how often the float one agrees, and what it did.

    dense : (N,) whether the uncompressed model is right
    """
    classes = torch.tensor([predicted for predicted, _, _ in golden])
    executed = sum(count * len(live) for _, count, live in golden)
    right = classes == examples.labels
    lost, interval = paired_loss(dense, right)
    return {
        "golden": {"accuracy": float(right.double().mean())},
        "lost": {"accuracy": lost / 100, "interval": interval / 100},
        "agreement": float((classes == compressed).double().mean()),
        "mean_exit_layer": sum(len(live) for _, _, live in golden) / len(golden),
        "live_token_fraction": sum(sum(live) for _, _, live in golden) / executed,
    }


def _cost(checkpoint, golden):
    """FLOPs over those of the uncompressed model, and the shares of zeros."""
    spans = checkpoint["attention.span"]
    full = sum(
        flops(checkpoint, [count] * checkpoint.model.layers, count, plain=True)
        for _, count, _ in golden
    )
    figures = {
        f"flops_speedup_{kind}": full
        / sum(flops(checkpoint, live, count, nonzero=kind == "nnz") for _, count, live in golden)
        for kind in ("dense", "nnz")
    }
    return figures | {
        "encoder_sparsity": sparsity(checkpoint.tensors, ENCODER_WEIGHTS),
        "embedding_sparsity": sparsity(checkpoint.tensors, EMBEDDING),
        "dead_heads": int((spans == 0).all(1).sum()),
    }


def flops(
    checkpoint: Checkpoint,
    live: Sequence[int],
    count: int,
    nonzero: bool = False,
    plain: bool = False,
) -> float:
    """FLOPs of one sentence: `count` tokens enter, live[l] are left in layer l.

    Layers that are not in `live` did not run. plain: without predictors and off-ramps; nonzero:
    only weights that are not zero, only live heads.
    """

    def size(name):
        weight = checkpoint[f"{name}.weight"]
        return int((weight != 0).sum()) if nonzero else weight.numel()

    model, layers = checkpoint.model, len(live)
    heads = int((checkpoint["attention.span"] != 0).any(1).sum()) if nonzero else model.heads
    encoder = sum(size(name) for name in ENCODER_LINEARS)
    macs = count * size("embedding.project")
    macs += sum(n * encoder + 2 * n * n * heads * model.head for n in live)
    macs += size("pooler") + size("classifier") if plain or layers == model.layers else 0
    if not plain:
        entering = [count, *live[:-1]]
        predictor = (size("predictor.hidden") + size("predictor.score")) / model.layers
        ramps = layers - (layers == model.layers)
        macs += sum(entering) * predictor + ramps * (size("exit.pooler") + size("exit.classifier"))
    return 2 * macs
