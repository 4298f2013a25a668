# SPDX-License-Identifier: Apache-2.0
"""A sweep: a setting of a recipe that is a list of values stands for a recipe each."""

import copy
import itertools
from typing import Any

__all__ = ["variants"]

LISTS = ("frozen", "rows", "seeds", "stage", "texts")  # keys whose one value is a list


def variants(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{label: values} of every combination, such as "zeros=0.5 rate=0.001"; "" without a sweep.

    values : a recipe as `tomllib` reads it
    """
    axes = list(_axes(values, ()))
    last = [place[-1] for place, _ in axes]
    names = [
        name if last.count(name) == 1 else ".".join(_words(values, place))
        for name, (place, _) in zip(last, axes, strict=True)
    ]
    found = {}
    for chosen in itertools.product(*(several for _, several in axes)):
        one = copy.deepcopy(values)
        for (place, _), value in zip(axes, chosen, strict=True):
            _set(one, place, value)
        found[" ".join(f"{name}={value}" for name, value in zip(names, chosen, strict=True))] = one
    return found


def _axes(values, place):
    """(place, list of values) of every setting that is a list."""
    for key, value in values.items():
        here = (*place, key)
        if isinstance(value, dict):
            yield from _axes(value, here)
        elif key == "stage" and isinstance(value, list):
            for number, stage in enumerate(value):
                if isinstance(stage, dict):
                    yield from _axes(stage, (*here, number))
        elif isinstance(value, list) and value and key not in LISTS:
            yield here, value


def _words(values, place):
    """The keys of a place, a stage by its name."""
    for step in place:
        values = values[step]
        if step != "stage":
            yield values.get("name", str(step)) if isinstance(step, int) else step


def _set(values, place, value):
    for step in place[:-1]:
        values = values[step]
    values[place[-1]] = value
