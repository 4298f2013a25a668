# SPDX-License-Identifier: Apache-2.0
"""Every property."""

from sim.prove.bus import BUS
from sim.prove.numerics import NUMERICS
from sim.prove.pipelines import PIPELINES
from sim.prove.streams import STREAMS

__all__ = ["PROPERTIES"]

PROPERTIES = (*NUMERICS, *STREAMS, *PIPELINES, *BUS)
