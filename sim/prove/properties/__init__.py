# SPDX-License-Identifier: Apache-2.0
"""Every property."""

from sim.prove.properties.arrays import ARRAYS
from sim.prove.properties.attend import ATTEND
from sim.prove.properties.bus import BUS
from sim.prove.properties.contracts import CONTRACTS
from sim.prove.properties.control import CONTROL
from sim.prove.properties.fetched import FETCHED
from sim.prove.properties.numerics import NUMERICS
from sim.prove.properties.operations import OPERATIONS
from sim.prove.properties.pipelines import PIPELINES
from sim.prove.properties.ports import PORTS
from sim.prove.properties.programs import PROGRAMS
from sim.prove.properties.rows import ROWS_AND_SLOTS
from sim.prove.properties.stable import STABLE
from sim.prove.properties.streams import STREAMS
from sim.prove.properties.sums import SUMS

__all__ = ["PROPERTIES"]

PROPERTIES = (
    *NUMERICS,
    *SUMS,
    *STREAMS,
    *PIPELINES,
    *STABLE,
    *PORTS,
    *CONTRACTS,
    *ATTEND,
    *ARRAYS,
    *ROWS_AND_SLOTS,
    *CONTROL,
    *PROGRAMS,
    *OPERATIONS,
    *BUS,
    *FETCHED,
)
