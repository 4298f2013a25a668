# SPDX-License-Identifier: Apache-2.0
"""Random configurations of the hardware times random cases: `python -m sim.proof.campaign`."""
