# SPDX-License-Identifier: Apache-2.0
"""Every property."""

from sim.prove.arrays import ARRAYS
from sim.prove.bus import BUS
from sim.prove.contracts import CONTRACTS
from sim.prove.control import CONTROL
from sim.prove.fetched import FETCHED
from sim.prove.numerics import NUMERICS
from sim.prove.operations import OPERATIONS
from sim.prove.pipelines import PIPELINES
from sim.prove.ports import PORTS
from sim.prove.programs import PROGRAMS
from sim.prove.rows import ROWS_AND_SLOTS
from sim.prove.stable import STABLE
from sim.prove.streams import STREAMS
from sim.prove.sums import SUMS

__all__ = ["PROPERTIES"]

PROPERTIES = (
    *NUMERICS,
    *SUMS,
    *STREAMS,
    *PIPELINES,
    *STABLE,
    *PORTS,
    *CONTRACTS,
    *ARRAYS,
    *ROWS_AND_SLOTS,
    *CONTROL,
    *PROGRAMS,
    *OPERATIONS,
    *BUS,
    *FETCHED,
)
