# SPDX-License-Identifier: Apache-2.0
"""The smallest machine, for proofs."""

from golden_model.hardware import HardwareConfig

__all__ = ["tiny_machine"]


def tiny_machine(rows=4, **changes):
    """Two lanes, a head, `rows` rows and positions, vectors of four."""
    sizes = dict(
        tokens=2,
        columns=2,
        rows=rows,
        positions=rows,
        hidden=4,
        feed_forward=4,
        embedding=4,
        heads=1,
        layers=2,
        classes=2,
    )
    return HardwareConfig(**sizes | changes)
