# SPDX-License-Identifier: Apache-2.0
"""Cycles: measured in the co-simulation, told by the cycle model."""
