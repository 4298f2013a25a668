# SPDX-License-Identifier: Apache-2.0
"""What the parts of a recipe need of each other, and of the data."""

from collections.abc import Iterator

from compress.data.tasks import Task, find_task
from compress.methods import METHODS
from compress.recipes.recipe import START, Cut, Stage, lineage
from golden_model.config import brief

__all__ = ["check_cut", "stage_rules"]


def stage_rules(stage: Stage, seen: dict[str, Stage], encoder: bool) -> Iterator[tuple[tuple, str]]:
    """(keys within the stage, rule) of all that it breaks.

    seen : the stages before it; encoder : whether the network is a pre-trained encoder
    """
    earlier = f"must be an earlier stage ({', '.join(seen) or 'there is none'})"
    if stage.name in seen:
        yield ("name",), f"name must be new, not {brief(stage.name)} again"
    if stage.parent and stage.parent not in seen:
        yield ("parent",), f"parent {earlier}, not {brief(stage.parent)}"
    if stage.teacher and stage.teacher.stage and stage.teacher.stage not in (*seen, START):
        yield ("teacher",), f"teacher {earlier}, not {brief(stage.teacher.stage)}"
    if not stage.methods:
        yield (), "stage must have a method, such as [stage.labels]"
    at_work = {name for one in lineage(stage, seen.values()) for name in one.methods}
    for name in stage.methods:
        for rule in _method_rules(name, stage, at_work, encoder):
            yield (name,), rule


def _method_rules(name, stage, at_work, encoder):
    """The rules that a method of a stage breaks; at_work : all methods on its network."""
    method = METHODS[name]
    if method.signals and stage.teacher is None:
        yield f"{name} must have a teacher in its stage"
    elif "saliency" in method.signals and stage.teacher.recipe:
        yield f"{name} must have an earlier stage of this recipe as teacher, with its tokens"
    if encoder and (method.stays or {"hidden", "maps"} & set(method.signals)):
        yield f"{name} must not be with a pre-trained encoder, only with an ALBERT"
    for other in method.conflicts:
        if other in at_work:
            yield f"{name} must not be with {other}"
    if method.needs and not at_work & set(method.needs):
        yield f"{name} must have {' or '.join(method.needs)} in its stage or before"


def check_cut(cut: Cut, task: Task, data_dir, trained: bool) -> None:
    """Raise ValueError unless there are such rows, and rows that a run of `task` may see.

    trained : whether a stage learns their labels, where they have any
    """
    found = find_task(cut.task, data_dir) if cut.task else task
    if cut.split != "dev":  # which may be cut from train
        found.file(cut.split)
    if cut.split in ("dev", "test") and found.files["train"] == task.files["train"]:
        raise ValueError(f"rows must not be of {task.name}/{cut.split}, which measures the result")
    if cut.cut == "pairs" and not found.pair:
        raise ValueError(f"rows cut into pairs must be of a task of pairs, not {found.name}")
    labelled = cut.split != "unsup" and cut.cut not in ("sentences", "pairs")
    if trained and labelled and found.labels != task.labels:
        raise ValueError(
            f"rows of {found.name} must have the labels of {task.name}, {', '.join(task.labels)}, "
            f"not {', '.join(found.labels)}; cut into sentences or pairs they have none"
        )
