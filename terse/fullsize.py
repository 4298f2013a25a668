# SPDX-License-Identifier: Apache-2.0
"""ALBERT at the sizes people deploy, end to end (`make fullsize`).

A Hugging Face checkpoint is imported, pruned, and one real sentence (or `--sentences N`, in
`--jobs` processes) goes through the RTL, every tensor compared.

No trained checkpoint can be downloaded here, so the weights are random, of a fixed seed; a folder
of your own goes through `terse import` and `terse run`.
"""

import argparse
import dataclasses
import pathlib
import resource
import sys
import time
from dataclasses import dataclass

from compress.data.data_folder import data_folder
from golden_model.config import AF8
from golden_model.hardware import HARDWARE, HardwareConfig

__all__ = ["SIZES", "Size", "main"]

TOKENS = 25  # of the sentence, its [CLS] and [SEP] included
SAMPLES = 64  # that travel with tiny
ZEROS = 0.6  # share of zeros of the encoder
SPREAD = 0.05  # of the random weights
STORE = pathlib.Path("build") / "fullsize"


@dataclass(frozen=True)
class Size:
    """`albert`: arguments of transformers' AlbertConfig; `hardware`: what it runs on."""

    albert: dict
    hardware: HardwareConfig


def _albert(**changes):
    return (
        dict(
            vocab_size=30000,
            embedding_size=128,
            max_position_embeddings=512,
            num_labels=2,
            initializer_range=SPREAD,
        )
        | changes
    )


SIZES = {
    "base": Size(
        _albert(
            hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
        ),
        HARDWARE["edgebert"],
    ),
    "large": Size(
        _albert(
            hidden_size=1024, num_hidden_layers=1, num_attention_heads=16, intermediate_size=4096
        ),  # one of its 24 equal layers
        dataclasses.replace(HARDWARE["edgebert"], hidden=1024, heads=16, feed_forward=4096),
    ),
}


def imported(name, size, vocab):
    """The checkpoint's folder; made where it is not there yet."""
    out = STORE / name
    if not out.exists():
        import torch
        from transformers import AlbertConfig, AlbertForSequenceClassification

        from compress.huggingface.importing import import_albert

        torch.manual_seed(1)
        source = STORE / f"{name}.huggingface"
        AlbertForSequenceClassification(AlbertConfig(**size.albert)).save_pretrained(source)
        import_albert(
            source,
            out,
            vocab=vocab,
            zeros=ZEROS,
            fmt=AF8,
            command=f"python -m terse.fullsize {name}",
        )
    return out


def sentences(folder, positions, count):
    """Those of the shipped samples that have nearest to `TOKENS` tokens in this vocabulary."""
    from terse import catalog
    from terse.text import encode_texts, gather

    found = encode_texts(
        catalog.tokenizer(str(folder), positions), gather("tiny", ()), positions, truncate=True
    )
    return sorted(found, key=lambda one: abs(len(one.ids) - TOKENS))[:count]


def check(name, vocab, count, jobs):
    """Import, build, run, compare; prints what was measured; whether every tensor was the same."""
    from golden_model.quantize import quantize
    from sim.cosim.build import build
    from sim.proof.check import traced
    from sim.proof.parallel import check_parallel as compare
    from terse import catalog

    size, begin = SIZES[name], time.perf_counter()
    folder = imported(name, size, vocab)
    network = quantize(catalog.checkpoint(str(folder)), size.hardware.format)
    chosen = sentences(folder, size.hardware.positions, count)
    ready = time.perf_counter()
    build(size.hardware, traced)
    built = time.perf_counter()
    outcome = compare(network, size.hardware, [(one.ids, one.segments) for one in chosen], jobs)
    ran = time.perf_counter()
    for one in chosen:
        print(
            f"albert-{name}, {network.model.layers} layers, {ZEROS:.0%} zeros, "
            f"{len(one.ids)} tokens: {one.text}"
        )
    queues = f" of {jobs} queues" if jobs > 1 else ""
    print(
        f"{outcome.tensors} tensors, {outcome.elements:,} values compared; "
        f"{outcome.cycles:,} cycles{queues}, {outcome.cycles / outcome.seconds:,.0f} cycles/s"
    )
    print(
        f"import {ready - begin:.0f} s, build {built - ready:.0f} s, run {ran - built:.0f} s; "
        f"peak memory {_peak():.1f} GB"
    )
    print("bit-exact" if outcome.bit_exact else "\n".join(["NOT bit-exact", *outcome.failures]))
    return outcome.bit_exact


def _peak():
    """GB that this process or one of its children had at most."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) / 2**20


def main():
    """Check the sizes of the command line -> exit status: 0 if none differs from golden."""
    parser = argparse.ArgumentParser(
        prog="python -m terse.fullsize", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("size", choices=SIZES, nargs="+")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        default=data_folder(),
        help="the data folder (docs/data.md); its vocab/albert_30k-clean.vocab is used",
    )
    parser.add_argument(
        "--sentences", type=int, default=1, metavar="N", help="the N samples nearest to 25 tokens"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, each with a queue of its own"
    )
    arguments = parser.parse_args()
    vocab = arguments.data / "vocab" / "albert_30k-clean.vocab"
    if not vocab.is_file():
        parser.error(
            f"--data must be a folder with vocab/albert_30k-clean.vocab, {arguments.data} is not "
            "(docs/data.md says where to get it)"
        )
    if not 1 <= arguments.jobs <= arguments.sentences <= SAMPLES:
        parser.error(
            f"--jobs and --sentences must be in 1..{SAMPLES}, no more jobs than sentences, "
            f"not {arguments.jobs} and {arguments.sentences}"
        )
    # All of them, also behind a difference.
    results = [check(name, vocab, arguments.sentences, arguments.jobs) for name in arguments.size]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
