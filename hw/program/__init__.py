# SPDX-License-Identifier: Apache-2.0
"""The program: fetched, run ahead of the operations, weights asked for, operations started."""
