# SPDX-License-Identifier: Apache-2.0
"""Verilog, images, and what fits where."""

from golden_model.fixed import ACT_BITS
from golden_model.hardware import ceil_div
from golden_model.quantize import quantize
from terse import catalog
from terse.errors import UserError

__all__ = ["buffer_sizes", "buffers", "compile_images", "fits", "show_image", "verilog_text"]


def verilog_text(hw, settings=()):
    """The accelerator as Verilog-2001."""
    config = catalog.hardware(hw, settings)
    from hw.accelerator import Accelerator
    from hw.verilog import verilog

    return verilog(Accelerator(config), "terse")


def compile_images(model, hw):
    """(image, embedding image) as bytes."""
    from firmware.compiler import compile_network

    config = catalog.hardware(hw)
    program = compile_network(_network(model, config), config)
    return program.image, program.embedding


def _network(model, config):
    try:
        return quantize(catalog.checkpoint(model), config.format)
    except ValueError as error:
        raise UserError(f"Model {model} cannot be quantised to {config.format}: {error}") from error


def show_image(path):
    """What is in an image or embedding image, as text."""
    from firmware.show import show

    return show(path).rstrip("\n")


LIMITS = ("hidden", "feed_forward", "embedding", "heads", "layers", "classes", "positions")


def fits(hw, model, settings=()):
    """([(item, needs, has, fits)], [reasons of the compiler]) of a model on a hardware configuration."""
    config, sizes = catalog.hardware(hw, settings), catalog.model_config(model)
    rows = [
        (
            name,
            str(getattr(sizes, name)),
            str(getattr(config, name)),
            getattr(sizes, name) <= getattr(config, name),
        )
        for name in LIMITS
    ]
    rows.append(
        (
            "longest reduction",
            str(sizes.longest_reduction),
            str(config.reduction),
            sizes.longest_reduction <= config.reduction,
        )
    )
    try:
        network = _network(model, config)
    except UserError:
        return rows, []
    from firmware.fit import problems

    return rows, problems(network, config)


def buffers(hw, settings=()):
    """[(buffer, words, bits of a word, bytes)] of a named hardware configuration."""
    return buffer_sizes(catalog.hardware(hw, settings))


def buffer_sizes(config):
    """[(buffer, words, bits of a word, bytes)] of a `HardwareConfig`."""
    from hw.array.bitmask import weight_layout
    from hw.array.mac_lane import operand_layout
    from hw.datapath import buffer_words

    tokens = config.tokens
    columns = config.columns
    code = config.format.bits
    widths = {"codes": code * tokens, "keys": code * tokens, "values": code * columns}
    sizes = [
        (name, words, widths.get(name, ACT_BITS * tokens))
        for name, words in buffer_words(config).items()
    ]
    sizes += [
        ("activation copies", 2 * config.reduction * columns, operand_layout(config).size * tokens),
        ("weights", config.weight_depth * columns, weight_layout(config).size),
    ]
    return [(name, words, bits, ceil_div(words * bits, 8)) for name, words, bits in sizes]
