# SPDX-License-Identifier: Apache-2.0
"""The program: kept on chip, sequenced, issued to the engines, its weight streams asked for ahead."""
