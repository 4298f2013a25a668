# SPDX-License-Identifier: Apache-2.0
"""What stands between the accelerator and the pins of a board."""
