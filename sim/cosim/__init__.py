# SPDX-License-Identifier: Apache-2.0
"""The compiled co-simulation."""
