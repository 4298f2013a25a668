# SPDX-License-Identifier: Apache-2.0
"""Scores, softmax and context of one slot after the other."""
