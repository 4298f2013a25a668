# SPDX-License-Identifier: Apache-2.0
"""Whole sentences through the machine, every tensor compared; faults; the Verilog text."""
