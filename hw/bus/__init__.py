# SPDX-License-Identifier: Apache-2.0
"""The buses and what speaks to them: AXI, masters, registers, image loading."""
