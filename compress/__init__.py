# SPDX-License-Identifier: Apache-2.0
"""Training and compression: from labelled sentences to a checkpoint that the machine can run."""
