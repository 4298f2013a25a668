# SPDX-License-Identifier: Apache-2.0
import torch

torch.set_num_threads(1)  # tensors are small: threads cost more than they save
