# SPDX-License-Identifier: Apache-2.0
"""`terse bench`: cases, measurements, targets, reports."""
