# SPDX-License-Identifier: Apache-2.0
"""The pictures of docs/, from the sources and simulated runs: `python -m sim.pictures`."""
