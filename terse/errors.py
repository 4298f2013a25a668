# SPDX-License-Identifier: Apache-2.0
"""What a user did wrong, told in one line."""

__all__ = ["UserError"]


class UserError(Exception):
    """Bad input; the command line prints the text and ends with exit status 2."""
