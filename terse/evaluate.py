# SPDX-License-Identifier: Apache-2.0
"""`terse eval`: accuracy and cost of three models on a whole split.

float: the uncompressed model. compressed: pruned weights, spans, drop and exit in float32, weights and array inputs rounded to
AdaptivFloat. golden: the integers that the machine computes.

FLOPs are counted as AdapLeR defines its speed-up: two per multiplication of a matrix product, real lengths without padding, tokens of a layer
counted after its drop, total of the uncompressed model over total of ours, predictors and off-ramps included. Survivors are those of the
golden model, counted, and layers after the exit cost nothing.
"""

import multiprocessing
import time

import torch

from compress.calibrate import coded_mode, measure
from compress.data import read_split
from compress.export import network_of
from compress.loop import Examples
from compress.network import Mode
from compress.prune import EMBEDDING, ENCODER, sparsity
from golden_model.config import AF8
from golden_model.model import run
from golden_model.quantize import quantize
from terse import catalog
from terse.errors import UserError

__all__ = ["evaluate", "flops", "golden", "golden_pool"]

WORKERS = 2
ENCODER_LINEARS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "feed_forward.up",
    "feed_forward.down",
)


def evaluate(model, task, split, data):
    """The dict that `--json` writes (fractions 0..1)."""
    begin = time.perf_counter()
    checkpoint = catalog.checkpoint(model)
    rows = read_split(data, task, split)
    if max(row.label for row in rows) >= checkpoint.model.classes:
        raise UserError(f"Model {model} has {checkpoint.model.classes} classes, {task} has more")
    encodings = catalog.tokenizer(model, checkpoint.model.positions).encode_many(rows)
    examples = Examples(
        [(e.ids, e.segments) for e in encodings],
        [row.label for row in rows],
        checkpoint.model.positions,
    )
    with golden_pool(checkpoint) as pool:
        running = pool.map_async(golden, examples.sequences, chunksize=8)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        dense = measure(network_of(checkpoint, dense=True), examples, Mode())
        coded = measure(network_of(checkpoint), examples, coded_mode(checkpoint.ranges))
        torch.set_num_threads(threads)
        found = running.get()
    exits = coded.exits(checkpoint.exit_threshold)
    chosen = coded.logits[exits - 1, torch.arange(len(exits))].argmax(-1)
    result = {
        "count": len(rows),
        "seconds": 0.0,
        "layers": checkpoint.model.layers,
        "float": {"accuracy": dense.accuracy() / 100},
        "compressed": {"accuracy": coded.accuracy(exits) / 100},
    }
    result |= _golden_figures(found, chosen, examples) | _cost(checkpoint, found)
    return result | {"seconds": time.perf_counter() - begin}


_network = None  # of a worker process


def golden_pool(checkpoint):
    """Processes for `golden`."""
    return multiprocessing.get_context("fork").Pool(WORKERS, _start, (checkpoint,))


def _start(checkpoint):
    global _network
    torch.set_num_threads(1)
    _network = quantize(checkpoint, AF8)


def golden(sequence):
    """(class, tokens entering, live tokens of each executed layer) of one sentence."""
    result = run(_network, *sequence)
    return result.predicted_class, len(sequence[0]), result.tokens_per_layer


def _golden_figures(golden, compressed, examples):
    classes = torch.tensor([predicted for predicted, _, _ in golden])
    executed = sum(count * len(live) for _, count, live in golden)
    return {
        "golden": {"accuracy": float((classes == examples.labels).double().mean())},
        "agreement": float((classes == compressed).double().mean()),
        "mean_exit_layer": sum(len(live) for _, _, live in golden) / len(golden),
        "live_token_fraction": sum(sum(live) for _, _, live in golden) / executed,
    }


def _cost(checkpoint, golden):
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
        "encoder_sparsity": sparsity(checkpoint.tensors, ENCODER),
        "embedding_sparsity": sparsity(checkpoint.tensors, EMBEDDING),
        "dead_heads": int((spans == 0).all(1).sum()),
    }


def flops(checkpoint, live, count, nonzero=False, plain=False):
    """FLOPs of one sentence: `count` tokens enter, live[l] are left in layer l; layers that are not in `live` did not run.

    plain: without predictors and off-ramps; nonzero: only weights that are not zero, only live heads.
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
