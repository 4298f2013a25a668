# SPDX-License-Identifier: Apache-2.0
"""Sentences on their way in and out: staging, embedding, admission, result records, operating
points.
"""
