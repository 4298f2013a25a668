# SPDX-License-Identifier: Apache-2.0
"""`terse timing`: which blocks, how fast, and what became slower."""

import json
import pathlib
from collections.abc import Callable, Sequence

from golden_model.hardware import HardwareConfig
from sim.synthesis.timing import BLOCKS, DEVICES, WHOLE, Timing, time_block, worse
from terse.errors import UserError

__all__ = ["against", "chosen_blocks", "time_blocks"]

ALL = "all"
MOST_SEEDS = 100


def chosen_blocks(names: Sequence[str], device: str, seeds: int) -> list[str]:
    """Blocks of the names on the command line; UserError for what there is not."""
    if device not in DEVICES:
        raise UserError(f"--device must be {', '.join(DEVICES)}, not {device}")
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds must be in 1..{MOST_SEEDS}, not {seeds}")
    if ALL in names:
        return [name for name in BLOCKS if name != WHOLE]
    if unknown := [name for name in names if name not in BLOCKS]:
        raise UserError(f"No block {unknown[0]!r}; there is {', '.join(BLOCKS)}, or {ALL}")
    return list(names) or [WHOLE]


def time_blocks(
    config: HardwareConfig,
    hw: str,
    names: Sequence[str],
    device: str = "85k",
    seeds: int = 1,
    watch: Callable[[str], None] = lambda step: None,
) -> list[Timing]:
    """The blocks of these names that the configuration has."""
    found = [time_block(config, hw, name, device, seeds, watch) for name in names]
    return [one for one in found if one is not None]


def against(found: Sequence[Timing], path: str | pathlib.Path) -> list[str]:
    """What is slower than in the file `path`, which --json wrote: a line for each block."""
    try:
        kept = json.loads(pathlib.Path(path).read_text("utf-8"))
        baseline = {str(name): float(one["best"]) for name, one in kept.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"--baseline {path} must be a file that --json wrote: {error}") from error
    return worse({one.block: one.best.clock for one in found}, baseline)
