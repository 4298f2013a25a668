# SPDX-License-Identifier: Apache-2.0
"""The commands of `terse`, by what they are about; each file has its part of the application."""
