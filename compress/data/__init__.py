# SPDX-License-Identifier: Apache-2.0
"""Texts: tasks, rows, what is held out."""
