# SPDX-License-Identifier: Apache-2.0
"""What training minimises: task, distillation, predictor and length terms."""

import torch
import torch.nn.functional as F

__all__ = ["distillation", "length_loss", "predictor_loss", "saliency", "task_loss"]


def _layer_weights(count, last):
    """Later layers count more; the last has a share of its own of all."""
    weights = torch.arange(1, count + 1, dtype=torch.float32)
    weights[-1] = max(weights[:-1].sum() * last / (1 - last), 1)
    return weights / weights.sum()


def task_loss(logits, labels, smoothing=0.0, last=0.5):
    """Cross-entropy of every layer's exit (a list of (B,C)), so that any layer can be the last.

    Rows without a label (-1) do not count. `last` is the share of the last layer, below 1.
    """
    known = labels >= 0
    if not known.any():
        return logits[-1].sum() * 0
    weights = _layer_weights(len(logits), last)
    losses = [
        F.cross_entropy(one[known], labels[known], label_smoothing=smoothing) for one in logits
    ]
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))


def distillation(logits, teacher, temperature=2.0, last=0.5):
    """Cross-entropy against the softened teacher (B,C), for every layer's exit.

    `last` is the share of the last layer, below 1.
    """
    target = F.softmax(teacher / temperature, dim=-1)
    weights = _layer_weights(len(logits), last)
    losses = [-(target * F.log_softmax(one / temperature, dim=-1)).sum(-1).mean() for one in logits]
    return temperature**2 * sum(w * loss for w, loss in zip(weights, losses, strict=True))


def saliency(network, batch):
    """(logits (B,C), target of the predictors (B,n)) of the uncompressed network.

    AdapLeR's saliency: |gradient x input| of the true class at the first layer's input, summing to
    one over a sentence. A row without a label (-1) takes the class that the network finds.
    """
    tokens, segments, live = batch.inputs
    with torch.no_grad():
        x = network.embed(tokens, segments)
    x.requires_grad_(True)
    logits = network(*batch.inputs, embedded=x).logits[-1]
    chosen = torch.where(batch.labels >= 0, batch.labels, logits.detach().argmax(1))
    (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), x)
    size = (gradient * x).detach().norm(dim=-1) * live
    return logits.detach(), size / size.sum(1, keepdim=True).clamp(min=1e-9)


def predictor_loss(output, target):
    """Sum over layers of KL(target || share), the target renormalized over the tokens still alive.

    Earlier predictors count more: what they drop is gone for all later layers.
    """
    total, layers = 0, len(output.shares)
    alive = [torch.ones_like(target), *output.live[:-1]]
    for layer, (share, live) in enumerate(zip(output.shares, alive, strict=True)):
        wanted = target * live.detach()
        wanted = wanted / wanted.sum(1, keepdim=True).clamp(min=1e-9)
        ratio = torch.log(wanted.clamp(min=1e-9)) - torch.log(share.clamp(min=1e-9))
        total = total + (layers - layer) / layers * (wanted * ratio).sum(1).mean()
    return total


def length_loss(output, live):
    """Mean share of token-layers that stay. Its gradient reaches eta alone (network._predict)."""
    tokens = live.sum(1)
    share = sum((length.sum(1) / tokens for length in output.length), torch.zeros_like(tokens))
    return share.mean() / len(output.length)
