# SPDX-License-Identifier: Apache-2.0
"""What happened in the machine, counted."""
