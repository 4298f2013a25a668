# SPDX-License-Identifier: Apache-2.0
"""From sentences to a compressed checkpoint: `train` runs the recipe's stages one after the other.

Everything lasting is a file under OUT/work; each stage starts from the files of the stages before
it, so an interrupted run goes on where it stopped and ends with the same bits.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from compress import data, tokenizer
from compress.calibrate import (
    activation_biases,
    choose_point,
    coded_mode,
    learn_dvfs_table,
    measure,
    observe_ranges,
    settle_eta,
)
from compress.evaluate import checkpoint_metrics
from compress.export import network_of, tensors_of, write_samples
from compress.loop import Examples, Loop
from compress.losses import saliency
from compress.network import HARD, Mode, Network
from compress.pieces import train_tokenizer
from compress.stages import Finetune, Prune, Quantise, Reduce, Reviews
from compress.vectors import word_vectors
from golden_model.checkpoint import Checkpoint, load
from golden_model.config import MODELS

__all__ = ["Recipe", "Training", "train"]

CLS, SEP = 2, 3
WHOLE = 1 << 20  # positions enough for any text
PIECE_MIN = 16  # shortest tail of a review that still counts as a piece


@dataclass(frozen=True)
class Recipe:
    """What a run may change: everything else is in the stages.

    Parameters
    ----------
    seed : of everything random
    held : rows of the training part kept for choosing thresholds
    scale : factor on every stage's epochs
    first_pass_rows : most reviews of the first pass, None for all
    live : share of tokens that may stay when weights are pruned, mean over the layers
    """

    seed: int = 0
    held: int = 600
    scale: float = 1.0
    first_pass_rows: int | None = None
    live: float = 0.5


def train(task, data_dir, out_dir, *, model="tiny", recipe=None, command="", log=print):
    """Train and compress `model` for `task`; the checkpoint is written to `out_dir`.

    `data_dir` holds a folder per task (or the task's own files); a first pass over a related task
    is made when its folder is there too. Ctrl-C saves; the same call goes on. Returns the metrics.
    """
    training = Training(task, data_dir, out_dir, MODELS[model], recipe or Recipe(), log)
    network = training.compressed()
    command = command or f"terse train --task {task} --data {data_dir} --out {out_dir}"
    return write_checkpoint(training, network, command)


class Training:
    """The files of one run and the networks that its stages make."""

    def __init__(self, task, data_dir, out_dir, config, recipe, log=print):
        self.task = task
        self.data_dir = Path(data_dir)
        self.out_dir = Path(out_dir)
        self.recipe, self.log = recipe, log
        self.work = self.out_dir / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)  # more gain little at these sizes
        rows = data.read_split(data_dir, task, "train")
        self.rest, self.held_rows = data.hold_out(rows, recipe.held, recipe.seed)
        self.dev_rows = data.read_split(data_dir, task, "dev")
        self.tokenizer = self.get_tokenizer(rows, config)
        self.config = dataclasses.replace(
            config, vocabulary=self.tokenizer.vocabulary, classes=data.TASKS[task].classes
        )
        self.examples, self.held, self.dev = map(
            self.encode, (self.rest, self.held_rows, self.dev_rows)
        )

    # Files.
    def kept(self, name, make):
        """The object in work/NAME.pt; made and written first where there is none."""
        path = self.work / f"{name}.pt"
        if not path.exists():
            value = make()
            torch.save(value, path.with_suffix(".partial"))
            os.replace(path.with_suffix(".partial"), path)
        return torch.load(path)

    def get_tokenizer(self, rows, config):
        path = self.out_dir / "tokenizer.json"
        if not path.exists():
            self.log("Learning the vocabulary")
            texts = [text for row in rows for text in (row.sentence, row.pair) if text]
            texts += [row.sentence for row in self.related("train")]
            train_tokenizer(texts, config.vocabulary).save(str(path))
        return tokenizer.load_tokenizer(path, config.positions)

    def encode(self, rows):
        encoded = self.tokenizer.encode_many(rows)
        return Examples(
            [(e.ids, e.segments) for e in encoded],
            [row.label for row in rows],
            self.config.positions,
        )

    # The first pass.
    def related(self, *splits):
        """Rows of the related task's splits, as far as they are there."""
        other = data.TASKS[self.task].first_pass
        if not other or not (self.data_dir / other).is_dir():
            return []
        rows = [row for split in splits for row in data.read_split(self.data_dir, other, split)]
        return rows[: self.recipe.first_pass_rows]

    def related_ids(self):
        """Whole related texts as ids, (texts, labels)."""

        def make():
            self.log("Reading the related task")
            rows = self.related("train", "test")
            whole = tokenizer.load_tokenizer(self.out_dir, WHOLE).encode_ids(rows)
            return [ids[1:-1] for ids in whole], [row.label for row in rows]

        return self.kept("related", make)

    def unlabelled_ids(self):
        """Texts of the related task that nobody labelled, for the word vectors."""
        other = data.TASKS[self.task].first_pass
        try:
            rows = data.read_split(self.data_dir, other, "unsup", labelled=False)
        except data.DataError:
            return []
        whole = tokenizer.load_tokenizer(self.out_dir, WHOLE)
        return whole.encode_ids(rows[: self.recipe.first_pass_rows])

    def pieces(self):
        """The related texts cut into pieces that fit, each with its text's label."""
        size = self.config.positions - 2
        sequences = []
        labels = []
        for ids, label in zip(*self.related_ids(), strict=True):
            for start in range(0, len(ids), size):
                part = ids[start : start + size]
                if start and len(part) < PIECE_MIN:
                    break
                sequences.append(([CLS, *part, SEP], [0] * (len(part) + 2)))
                labels.append(label)
        return Examples(sequences, labels, self.config.positions)

    # Stages.
    def network(self, weights=None, masks=None):
        torch.manual_seed(self.recipe.seed)
        network = Network(self.config)
        if weights is not None:
            network.load_state_dict(weights)
        network.masks = masks or {}
        return network

    def run(self, stage, examples):
        """Train the stage, or take its result; returns its network."""

        def make():
            stage.epochs *= self.recipe.scale
            self.log(f"Stage {stage.name}")
            path = self.work / f"{stage.name}-state.pt"
            rows = examples() if callable(examples) else examples
            Loop(stage, rows, path, self.recipe.seed).run()
            stage.finish()
            return {"weights": stage.network.state_dict(), "masks": stage.network.masks}

        result = self.kept(stage.name, make)
        self.report(
            stage.name, network := self.network(result["weights"], result["masks"]), stage.mode(1.0)
        )
        return network

    def report(self, name, network, mode):
        full = dataclasses.replace(mode, depth=None, dropout=0.0, word_dropout=0.0)
        for part, examples in (("held-out", self.held), ("dev", self.dev)):
            m = measure(network, examples, full)
            layers = [
                f"{m.accuracy(torch.full_like(m.labels, layer + 1)):.2f}"
                for layer in range(len(m.logits))
            ]
            live = [f"{share:.2f}" for share in m.live.mean(1).tolist()]
            self.log(f"{name}: {part} accuracy by layer {' '.join(layers)}, live {' '.join(live)}")

    def first_pass(self):
        """Weights after the first pass (just the word vectors when there is no related task)."""

        def vectors():
            self.log("Learning word vectors")
            texts = [ids for ids, _ in self.examples.sequences]
            if related:
                texts += self.related_ids()[0] + self.unlabelled_ids()
            return word_vectors(
                texts, self.config.vocabulary, self.config.embedding, self.recipe.seed
            )

        related = bool(self.related("test"))
        network = self.network()
        network.embedding.word.data.copy_(self.kept("vectors", vectors))
        if related:
            network = self.run(Reviews(network), self.pieces)
            network.pooler.load_state_dict(network.exit.pooler.state_dict())
            network.classifier.load_state_dict(network.exit.classifier.state_dict())
        return network

    def uncompressed(self):
        return self.run(Finetune(self.first_pass()), self.examples)

    def targets(self, teacher):
        """The teacher's logits and saliencies of all training rows."""

        def make():
            self.log("Asking the uncompressed model")
            teacher.eval()
            teacher.mode = Mode()
            logits = torch.zeros(len(self.examples), self.config.classes)
            marks = [None] * len(self.examples)
            for index in self.examples.schedule(64):
                batch = self.examples.batch(index)
                logits[index], shares = saliency(teacher, batch)
                for row, values in zip(index.tolist(), shares, strict=True):
                    marks[row] = values[: self.examples.lengths[row]].half().clone()
            return {"logits": logits, "saliency": marks}

        return self.kept("targets", make)

    def compressed(self):
        """All stages; the network that the machine will run."""
        network = self.uncompressed()
        targets = self.targets(network)
        network = self.run(Reduce(network, targets), self.examples)
        settle_eta(network, self.held, Mode(sharpness=HARD, spans=True), self.recipe.live)
        network = self.run(Prune(network, targets, self.importance()), self.examples)
        ranges = observe_ranges(network, self.examples)
        stage = Quantise(network, targets, activation_biases(ranges))
        network = self.run(stage, self.examples)
        network.mode = coded_mode(ranges)
        return network

    def importance(self):
        """(V,1) weight of a word's magnitudes in pruning: fourth root of its count."""
        counts = torch.zeros(self.config.vocabulary)
        for ids, _ in self.examples.sequences:
            counts += torch.bincount(torch.tensor(ids), minlength=self.config.vocabulary)
        return (counts + 10)[:, None] ** 0.25


def write_checkpoint(training, network, command):
    """Write OUT: weights, ranges, thresholds and metrics; returns the metrics."""
    tensors = tensors_of(network)
    teacher = training.uncompressed()
    dense = {
        f"dense.{name}": value
        for name, value in tensors_of(teacher).items()
        if not name.startswith("predictor.") and name not in ("eta", "attention.span")
    }
    ranges = observe_ranges(network, training.examples, network.mode.biases)
    checkpoint = Checkpoint(training.config, {**tensors, **dense}, ranges, command=command)
    checkpoint.save(training.out_dir, torch.float16)
    checkpoint = load(training.out_dir)  # as rounded
    network, mode = network_of(checkpoint), coded_mode(ranges)
    checkpoint.exit_threshold = choose_point(network, training.held, mode)
    checkpoint.tensors["eta"] = network.eta.detach().half().float()
    held = measure(network_of(checkpoint), training.held, mode)
    checkpoint.dvfs_table = learn_dvfs_table(held, checkpoint.exit_threshold)
    training.log("Measuring on dev")
    checkpoint.metrics = checkpoint_metrics(checkpoint, training.dev)
    checkpoint.metrics["held_out_rows"] = len(training.held)
    checkpoint.save(training.out_dir, torch.float16)
    write_samples(training.dev_rows, training.out_dir / "samples.tsv", training.recipe.seed)
    return checkpoint.metrics
