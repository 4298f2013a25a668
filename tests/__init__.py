# SPDX-License-Identifier: Apache-2.0
"""Tests without a simulator: the golden model against independent oracles, seconds in total."""
