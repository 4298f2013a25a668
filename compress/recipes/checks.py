# SPDX-License-Identifier: Apache-2.0
"""Rules for the values of a settings dataclass."""

from dataclasses import fields
from typing import Any

from golden_model.config import brief

__all__ = ["check_flag", "check_names", "check_number", "check_settings"]


def check_number(name: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    """Raise ValueError unless a value is a number of low..high, a whole one where told so."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind} in {low:g}..{high:g}, not {brief(value)}")


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless a value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {brief(value)}")


def check_names(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a tuple of names, none of them empty."""
    if not isinstance(value, tuple) or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f"{name} must be a list of names, not {brief(value)}")


def check_settings(settings: Any, **rules: tuple) -> None:
    """Raise ValueError unless the settings are within their rules.

    rules : by name (low, high) of a number, whole where its default is, or the words that it may be
    """
    defaults = {field.name: field.default for field in fields(settings)}
    for name, rule in rules.items():
        value = getattr(settings, name)
        if isinstance(rule[0], str):
            if value not in rule:
                raise ValueError(f"{name} must be one of {', '.join(rule)}, not {brief(value)}")
        else:
            check_number(name, value, *rule, whole=isinstance(defaults[name], int))
    for name, default in defaults.items():
        if isinstance(default, bool):
            check_flag(name, getattr(settings, name))
