# SPDX-License-Identifier: Apache-2.0
"""Recipes: read, checked, run stage by stage, results kept."""
