# SPDX-License-Identifier: Apache-2.0
"""What shows that the blocks are right: mutants, coverage, and the page that says it all."""
