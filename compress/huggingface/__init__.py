# SPDX-License-Identifier: Apache-2.0
"""ALBERT folders of Hugging Face: read, imported, exported."""
