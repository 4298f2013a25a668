# SPDX-License-Identifier: Apache-2.0
"""The boards that there are: a module each, with what `Kind` asks for as its `KIND`.

A new board is a new file here and nothing else: `terse build --board` knows it by the file's name.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Kind", "board_kinds"]


@dataclass(frozen=True)
class Kind:
    """A board.

    Parameters
    ----------
    hw : the configuration that was made for it
    clock : Hz of the machine
    platform : () -> Amaranth's platform
    top : (config, clock) -> the component that requests the board's pins
    device : nextpnr-ecp5's option for the chip; None where only its vendor's tool places and routes
    flash : openFPGALoader's name of the board
    """

    hw: str
    clock: float
    platform: Callable[[], Any]
    top: Callable[..., Any]
    device: str | None
    flash: str


def board_kinds() -> dict[str, Kind]:
    """{name: board}."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").KIND for name in names}
