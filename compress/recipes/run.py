# SPDX-License-Identifier: Apache-2.0
"""A recipe at work: its stages one after the other, each kept under its fingerprint.

A stage is done where its result is in the store; a stage that was interrupted goes on from its last
saved step and ends with the same bits.
"""

import dataclasses
import json
from functools import cached_property

import torch

from compress.calibrate import measure
from compress.data.corpus import Corpus
from compress.data.holdout import shares
from compress.methods import METHODS
from compress.methods.base import Facts
from compress.recipes import start
from compress.recipes.loop import Loop
from compress.recipes.reader import read_recipe
from compress.recipes.recipe import FOLDERS, START, lineage
from compress.recipes.result_store import fingerprint
from compress.recipes.training import Training
from compress.teachers.teacher import Teacher, aligned_ids
from compress.tokens.tokenizer import from_text

__all__ = ["RecipeRun"]

VERSION = 2  # of the training loop; counted up when equal inputs come to give other results


class RecipeRun:
    """One seed of a recipe.

    Parameters
    ----------
    recipe : compress.recipes.recipe.Recipe
    data_dir : folder of tasks
    store : compress.recipes.result_store.ResultStore
    seed : of everything random; the recipe's first without
    device : where training happens
    log : called with a line at a time
    """

    def __init__(
        self, recipe, data_dir, store, seed=None, device: str | torch.device = "cpu", log=print
    ):
        self.recipe, self.data_dir, self.store = recipe, data_dir, store
        self.seed = recipe.seeds[0] if seed is None else seed
        self.device, self.log = torch.device(device), log
        self.corpus = Corpus(recipe, data_dir, self.seed)
        self.trained = []  # names of the stages that this object trained
        self._stages = {stage.name: stage for stage in recipe.stages}
        self._inputs = {}
        self._others = {}

    # Tokens, sizes, rows.
    @cached_property
    def token_inputs(self):
        return start.token_inputs(self)

    @cached_property
    def tokenizer(self):
        """The tokenizer of all stages, cut to the model's positions."""
        text = self.store.kept("tokenizer", self.token_inputs, lambda: start.vocabulary(self))
        return from_text(text, self.sizes.positions)

    @cached_property
    def sizes(self):
        """The sizes that the recipe asks for, or those of the folder that it starts from."""
        return self.recipe.model or start.folder_sizes(self.recipe.start)

    @cached_property
    def config(self):
        """The sizes with the vocabulary and the classes that there are."""
        given = self.recipe.start.origin in FOLDERS  # a table may have more rows than pieces
        return dataclasses.replace(
            self.sizes,
            vocabulary=self.sizes.vocabulary if given else self.tokenizer.vocabulary,
            classes=self.corpus.task.classes,
        )

    def encode(self, rows):
        return self.corpus.encode_rows(rows, self.tokenizer, self.device)

    @cached_property
    def held(self):
        """Examples that no stage trains on."""
        return self.encode(self.corpus.held)

    @cached_property
    def dev(self):
        return self.encode(self.corpus.dev)

    @cached_property
    def counts(self):
        """(V,) how often each token occurs in the task's own training rows."""
        counts = torch.zeros(self.config.vocabulary)
        for ids, _ in self.encode(self.corpus.split[0]).sequences:
            counts += torch.bincount(torch.tensor(ids), minlength=len(counts))
        return counts

    def facts(self, examples, teacher=None):
        return Facts(examples, self.held, self.counts, teacher)

    # What results follow from.
    @cached_property
    def start_inputs(self):
        return start.start_inputs(self)

    def lineage(self, stage):
        """The stage and those before it, the first one first."""
        return lineage(stage, self.recipe.stages)

    def parent(self, stage):
        """The stage whose weights this one begins with, None for the start."""
        return [None, *self.lineage(stage)][-2]

    @property
    def last_inputs(self):
        """All that the result of the recipe follows from."""
        return self.inputs(self.recipe.stages[-1])

    def inputs(self, stage):
        """All that the result of a stage follows from."""
        if stage.name not in self._inputs:
            before = self.parent(stage)
            own = dataclasses.asdict(stage)
            for name in ("name", "parent", "teacher", "methods", "rows"):
                del own[name]
            self._inputs[stage.name] = {
                "version": VERSION,
                "stage": own,
                "methods": [
                    [name, METHODS[name].version, settings]
                    for name, settings in stage.methods.items()
                ],
                "rows": self.corpus.inputs(stage.rows),
                "held": self.corpus.own_inputs,
                "parent": fingerprint(self.inputs(before) if before else self.start_inputs),
                "teacher": stage.teacher and fingerprint(self._teacher_inputs(stage)),
                "seed": self.seed,
            }
        return self._inputs[stage.name]

    def _teacher_inputs(self, stage):
        if stage.teacher.stage == START:
            return self.start_inputs
        if stage.teacher.stage:
            return self.inputs(self._stages[stage.teacher.stage])
        return self.other(stage.teacher.recipe).last_inputs

    def other(self, name):
        """The run of another recipe, which lies beside this one."""
        if name not in self._others:
            recipe = read_recipe(
                self.recipe.path.parent / name, None, self.recipe.instead, self.recipe.task
            )
            self._others[name] = RecipeRun(
                recipe, self.data_dir, self.store, device=self.device, log=self.log
            )
        return self._others[name]

    # Networks.
    def empty(self, stage=None):
        """A network with what is at work on it after a stage, its weights not yet loaded."""
        torch.manual_seed(self.seed)
        network = start.make_network(self)
        for one in self.lineage(stage) if stage else ():
            for name, settings in one.methods.items():
                if METHODS[name].stays:
                    network.attach(METHODS[name](settings, network))
        return network

    def initial(self):
        """The network that the first stage begins with."""
        network = self.empty()
        network.load_state_dict(
            self.store.kept("start", self.start_inputs, lambda: start.begin(self).state_dict())
        )
        return network.to(self.device)

    def network(self, stage):
        """The network after a stage, which is trained if it is not kept."""
        result = self.store.kept("stage", self.inputs(stage), lambda: self._train(stage))
        network = self.empty(stage)
        network.load_state_dict(result)
        return network.to(self.device)

    def result(self):
        """The network after the last stage."""
        return self.network(self.recipe.stages[-1])

    def uncompressed(self):
        """The network before anything was compressed, None where that is random weights."""
        plain = [
            stage
            for stage in self.lineage(self.recipe.stages[-1])
            if not any(METHODS[name].stays for one in self.lineage(stage) for name in one.methods)
        ]
        if plain:
            return self.network(plain[-1])
        return self.initial() if self.recipe.start.origin in FOLDERS else None

    def _train(self, stage):
        """The state of the network after a stage, from its last saved step or its beginning."""
        before = self.parent(stage)
        network = self.network(before) if before else self.initial()
        examples = self.corpus.encode(stage.rows, self.tokenizer, self.device)
        teacher = self._teach(stage, examples)
        self.log(f"Stage {stage.name}: {len(examples)} rows")
        rest, held = (shares(rows, self.corpus.task.labels) for rows in self.corpus.split)
        self.log(f"Stage {stage.name}: of train {rest} are left, held out {held}")
        torch.manual_seed(self.seed)
        training = Training(stage, network, self.facts(examples, teacher))
        path = self.store.path("state", self.inputs(stage))
        loop = Loop(training, examples, path, self.seed, self.log_path(stage))
        loop.run()
        training.finish()
        path.unlink(missing_ok=True)
        self.trained.append(stage.name)
        self._report(stage.name, network)
        return network.cpu().state_dict()

    def _teach(self, stage, examples):
        """The teacher of a stage with its answers ready, None where there is none."""
        if stage.teacher is None:
            return None
        if stage.teacher.stage == START:
            run, network = self, self.initial()
        elif stage.teacher.stage:
            run, network = self, self.network(self._stages[stage.teacher.stage])
        else:
            run = self.other(stage.teacher.recipe)
            network = run.result()
        theirs = examples if run is self else run.encode(examples.rows)
        teacher = Teacher(network, theirs, aligned_ids(self.tokenizer, run.tokenizer))
        signals = {one for name in stage.methods for one in METHODS[name].signals}
        inputs = {
            "teacher": fingerprint(self._teacher_inputs(stage)),
            "rows": self.corpus.inputs(stage.rows),
        }
        if any(cut.cut == "pieces" for cut in stage.rows):  # which end where the student's do
            inputs |= {"tokens": self.token_inputs, "positions": self.sizes.positions}
        teacher.prepare(signals, self.store, inputs)
        return teacher

    def _report(self, name, network):
        """A line of accuracy by layer and of live tokens, held out and dev."""
        for part, examples in (("held-out", self.held), ("dev", self.dev)):
            m = measure(network, examples)
            layers = [
                f"{m.accuracy(torch.full_like(m.labels, layer + 1)):.2f}"
                for layer in range(len(m.logits))
            ]
            live = [f"{share:.2f}" for share in m.live.mean(1).tolist()]
            self.log(f"{name}: {part} accuracy by layer {' '.join(layers)}, live {' '.join(live)}")

    def log_path(self, stage):
        """The file of a stage's losses."""
        return self.store.path("log", self.inputs(stage)).with_suffix(".jsonl")

    def logs(self):
        """Lines of JSON of all stages of the result, each with its stage's name."""
        for stage in self.lineage(self.recipe.stages[-1]):
            path = self.log_path(stage)
            for line in path.read_text().splitlines() if path.is_file() else ():
                yield json.dumps({"stage": stage.name, **json.loads(line)})
