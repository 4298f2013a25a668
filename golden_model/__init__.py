# SPDX-License-Identifier: Apache-2.0
"""The specification: formats, function tables, every block on integers, the whole network."""
