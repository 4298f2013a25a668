# SPDX-License-Identifier: Apache-2.0
"""Properties of blocks, proved by yosys and z3, and the mutants that each must find."""
