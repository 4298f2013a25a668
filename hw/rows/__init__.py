# SPDX-License-Identifier: Apache-2.0
"""The row table and what reads rows and tiles through it."""
