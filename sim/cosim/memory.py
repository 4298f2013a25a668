# SPDX-License-Identifier: Apache-2.0
"""The memory model's constants: axi.h is compiled with them, the cycle model reckons with them."""

__all__ = ["READ_BURSTS", "WRITE_BURSTS"]

READ_BURSTS = 8  # bursts whose addresses a read port has taken and whose beats have not all gone
WRITE_BURSTS = 4  # the same of a write port
