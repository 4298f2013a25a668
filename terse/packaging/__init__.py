# SPDX-License-Identifier: Apache-2.0
"""What is handed to other tools: `make release`."""
