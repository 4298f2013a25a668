# SPDX-License-Identifier: Apache-2.0
"""Why a branch that its block's bench does not cover in any circuit is no gap."""

__all__ = ["REVIEWED"]

TABLE = "An entry of a table for more classes than a model of this bench has."
READY = "Who takes it is always ready there."

REVIEWED: dict[tuple[str, str], str] = {}
