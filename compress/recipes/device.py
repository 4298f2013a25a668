# SPDX-License-Identifier: Apache-2.0
"""Where training happens, and in which precision."""

import torch

__all__ = ["half_precision"]


def half_precision(precision, device):
    """Whether a forward pass is in bfloat16: as a stage says, or where the device is made for it.

    precision : float32, bfloat16 or auto
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cpu":
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cuda.is_bf16_supported()
