# SPDX-License-Identifier: Apache-2.0
"""A run's result: the checkpoint with settled thresholds, and the folder that holds it all."""

import dataclasses
import importlib.util
import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from compress.calibrate import dvfs_errors, measure, observe_ranges
from compress.costs import costs
from compress.evaluate import checkpoint_metrics
from compress.export import network_of, tensors_of, write_samples
from compress.recipes.recipe import Recipe
from compress.recipes.result_store import fingerprint
from golden_model.checkpoint import Checkpoint, load

__all__ = ["write_result", "write_teacher"]

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


def write_result(run, out: str | Path, command: str) -> Checkpoint:
    """Train what is not yet trained and write the folder `out`; returns the checkpoint.

    out : checkpoint (config.json, model.safetensors, tokenizer.json), samples.tsv, run.json (the
        whole recipe, environment, fingerprints), metrics.jsonl (a line each LOG_EVERY steps),
        and its curves in tensorboard/ where that is installed
    """
    out = Path(out)
    checkpoint, network = _checkpoint(run, command)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out, torch.float16)
    checkpoint = _settle(run, network, load(out))  # on the weights as they are rounded
    run.log("Measuring on dev")
    checkpoint.metrics = checkpoint_metrics(checkpoint, run.dev, run.uncompressed())
    checkpoint.metrics |= _held_out(checkpoint, run.held)
    checkpoint.save(out, torch.float16)
    run.tokenizer.tokenizer.no_truncation()
    run.tokenizer.tokenizer.save(str(out / "tokenizer.json"))
    write_samples(run.corpus.dev, out / "samples.tsv", run.seed)
    _write_account(run, out, command)
    return checkpoint


def write_teacher(run, out: str | Path, command: str) -> dict:
    """Train a pre-trained encoder and write what it is worth to `out`; its weights are kept.

    out : run.json, metrics.jsonl, result.json with the accuracies in percent
    """
    network = run.result()
    found = {
        "task": run.recipe.task,
        "dev_accuracy": round(measure(network, run.dev).accuracy(), 2),
        "held_out_accuracy": round(measure(network, run.held).accuracy(), 2),
        "dev_rows": len(run.dev),
    }
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _write_account(run, out, command)
    (out / "result.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def _checkpoint(run, command):
    """(checkpoint, network) before thresholds are settled."""
    network = run.result()
    tensors = tensors_of(network)
    compressed = any(method.stays for method in network.methods.values())
    if compressed and run.recipe.dense and (plain := run.uncompressed()) is not None:
        dense = tensors_of(plain)
        tensors |= {
            f"dense.{name}": value
            for name, value in dense.items()
            if not name.startswith("predictor.") and name not in ("eta", "attention.span")
        }
    if "adaptivfloat" in network.methods:
        codes = network.methods["adaptivfloat"]
        made = Checkpoint(run.config, tensors, codes.ranges, command=command)
        made.format = codes.settings.format
    else:
        rows = run.corpus.encode(run.recipe.stages[-1].rows, run.tokenizer, run.device)
        made = Checkpoint(run.config, tensors, observe_ranges(network, rows), command=command)
    made.labels = run.corpus.task.labels
    return made, network


def _held_out(checkpoint, held):
    """What the rows that thresholds were chosen on say of them."""
    found = {"held_out_rows": len(held)}
    if checkpoint.dvfs_table:
        measured = measure(network_of(checkpoint, codes=checkpoint.format), held)
        errors = dvfs_errors(measured, checkpoint.exit_threshold, checkpoint.dvfs_table)
        found |= {f"held_out_{name}": round(value, 4) for name, value in errors.items()}
    return found


def _settle(run, trained, checkpoint):
    """The checkpoint with what the methods choose on held-out rows."""
    network = network_of(checkpoint, codes=checkpoint.format).to(run.device)
    facts = run.facts(run.held)
    found = {}
    for method in trained.methods.values():
        found |= method.settle(network, facts)
        network.exit_threshold = found.get("exit_threshold", 0.0)
    tensors = {**checkpoint.tensors, "eta": network.eta.detach().cpu().half().float()}
    return dataclasses.replace(checkpoint, tensors=tensors, **found)


def _write_account(run, out, command):
    lines = list(run.logs())
    (out / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if importlib.util.find_spec("tensorboard"):
        _write_curves(out / "tensorboard", [json.loads(line) for line in lines])
    (out / "run.json").write_text(json.dumps(_account(run, command), indent=2, default=str) + "\n")


def _write_curves(folder, lines):
    """The losses as TensorBoard shows them, a curve for each term of each stage."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for line in lines:
            for name in line.keys() - {"stage", "step"}:
                writer.add_scalar(f"{line['stage']}/{name}", line[name], line["step"])


def _account(run, command):
    """What the run was: recipe, environment, fingerprints of its stages, what methods cost."""
    recipe: Recipe = run.recipe
    tokens = round(sum(run.held.lengths) / len(run.held))
    found = {} if recipe.encoder else {"tokens": tokens, "costs": costs(run.result(), tokens)}
    return {
        "command": command,
        "recipe": {**dataclasses.asdict(recipe), "path": recipe.path.name},
        "seed": run.seed,
        "device": str(run.device),
        "stages": {
            stage.name: fingerprint(run.inputs(stage)) for stage in run.lineage(recipe.stages[-1])
        },
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            **{name: version(name) for name in LIBRARIES},
        },
        **found,
    }
