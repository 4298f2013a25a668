# SPDX-License-Identifier: Apache-2.0
"""Who teaches: pre-trained encoders, and answers to a student."""
