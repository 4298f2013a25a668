# SPDX-License-Identifier: Apache-2.0
"""The MAC array with what feeds it and what takes its columns: weight operations and LayerNorm."""
