# SPDX-License-Identifier: Apache-2.0
"""Vocabularies, and texts as token ids."""
