# SPDX-License-Identifier: Apache-2.0
"""Arithmetic that several blocks use."""
