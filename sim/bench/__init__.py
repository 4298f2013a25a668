# SPDX-License-Identifier: Apache-2.0
"""Benches of blocks in cocotb, and what they share; a folder for each folder of hw/."""
