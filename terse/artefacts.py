# SPDX-License-Identifier: Apache-2.0
"""Verilog, images, and what fits where."""

import pathlib
from collections.abc import Sequence

from firmware.buffers import BUFFERS
from golden_model.config import NumberFormat
from golden_model.hardware import HardwareConfig, ceil_div
from terse import catalog
from terse.errors import UserError

__all__ = ["buffer_sizes", "buffers", "compile_images", "fits", "show_image", "verilog_text"]

Buffer = tuple[str, int, int, int]


def verilog_text(hw: str, settings: Sequence[str] = ()) -> str:
    """The accelerator as Verilog-2001."""
    config = catalog.hardware(hw, settings)
    from hw.accelerator import Accelerator
    from hw.verilog import verilog

    return verilog(Accelerator(config), "terse")


def compile_images(
    model: str, hw: str, fmt: NumberFormat | None = None, settings: Sequence[str] = ()
) -> tuple[bytes, bytes, list[str]]:
    """(image, embedding image, what a user should know) of a model for a hardware configuration.

    fmt : number format, by default the one that the model was made for; the hardware's is the same
    settings : changes of the hardware's parameters, as T=8
    """
    from firmware.compiler import CompileError, compile_network

    network = catalog.network(model, catalog.checkpoint(model), fmt)
    config, notes = catalog.hardware_for(network.fmt, hw, settings)
    try:
        program = compile_network(network, config)
    except CompileError as error:
        raise catalog.does_not_fit(model, hw, network, config, error) from error
    return program.image, program.embedding, notes


def show_image(path: str | pathlib.Path) -> str:
    """What is in an image or embedding image, as text."""
    from firmware.show import show

    return show(path).rstrip("\n")


LIMITS = ("hidden", "feed_forward", "embedding", "heads", "layers", "classes", "positions")

Fit = tuple[str, str, str, bool | None]


def fits(
    hw: str, model: str, settings: Sequence[str] = ()
) -> tuple[list[Fit], list[str], list[str]]:
    """([(item, needs, has, fits)], reasons of the compiler, notes) of a model on some hardware."""
    sizes, notes = catalog.model_config(model), []
    config, network = catalog.hardware(hw, settings), None
    if not _is_size(model):
        network = catalog.network(model, catalog.checkpoint(model))
        config, notes = catalog.hardware_for(network.fmt, hw, settings)
    needs = {name: getattr(sizes, name) for name in LIMITS}
    has = {name: getattr(config, name) for name in LIMITS}
    needs["longest reduction"] = sizes.longest_reduction
    has["longest reduction"] = config.reduction
    rows = [(name, str(value), str(has[name]), value <= has[name]) for name, value in needs.items()]
    if network is None:
        return rows, [], notes
    from firmware.fit import problems

    found = problems(network, config)
    advice = catalog.would_fit(network, config) if found else ""
    return rows, [*found, *([advice] if advice else [])], notes


def _is_size(model):
    """Whether the name is one of a size alone, without a checkpoint."""
    try:
        catalog.model_folder(model)
    except UserError:
        return True
    return False


def buffers(hw: str, settings: Sequence[str] = ()) -> list[Buffer]:
    """[(buffer, words, bits of a word, bytes)] of a named hardware configuration."""
    return buffer_sizes(catalog.hardware(hw, settings))


def buffer_sizes(config: HardwareConfig) -> list[Buffer]:
    """[(buffer, words, bits of a word, bytes)] of a `HardwareConfig`."""
    from hw.array.bitmask import weight_layout
    from hw.array.mac_lane import operand_layout

    operand_bits = operand_layout(config).size * config.tokens
    sizes = [(plan.name, plan.depth(config), plan.bits(config)) for plan in BUFFERS.values()]
    sizes += [
        ("activation copies", 2 * config.reduction * config.columns, operand_bits),
        ("weights", config.weight_depth * config.columns, weight_layout(config).size),
    ]
    return [(name, words, bits, ceil_div(words * bits, 8)) for name, words, bits in sizes]
