# SPDX-License-Identifier: Apache-2.0
"""Who stays and who is done: token drop and early exit."""
