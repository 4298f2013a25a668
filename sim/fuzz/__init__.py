# SPDX-License-Identifier: Apache-2.0
"""Fuzzers of all that reads what others wrote: `python -m sim.fuzz`, `make fuzz`."""
