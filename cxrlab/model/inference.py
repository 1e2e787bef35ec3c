"""Frozen copies of a classifier that compute as fast as the hardware allows."""

from __future__ import annotations

import copy

import torch
from torch import nn

from cxrlab.model.classifier import Classifier
from cxrlab.model.folding import fold_batch_norms


def inference_network(classifier: Classifier) -> nn.Module:
    """Copy what maps images to logits, for computing alone.

    The copy is in evaluation mode and float32, in channels_last layout, with batch norms folded
    into convolutions, and none of its parameters requires a gradient. It differs from
    `Classifier.forward` in evaluation mode by rounding only.

    Args:
        classifier: not changed; the copy is on its device.

    Returns:
        Maps (B, 1, H, W) float32 in [0, 1] to logits: (B,) for two classes, else (B, K).
    """
    # Tensors made in inference mode can't take part in the gradient of an input.
    with torch.inference_mode(False):
        head = copy.deepcopy(classifier.head)
        return _frozen(nn.Sequential(inference_backbone(classifier), head))


def inference_backbone(classifier: Classifier) -> nn.Module:
    """Copy what maps images to pooled features, as `inference_network` does.

    Returns:
        Maps (B, 1, H, W) float32 in [0, 1] to (B, num_features) float32.
    """
    backbone = classifier.backbone
    with torch.inference_mode(False):
        normalise, net = copy.deepcopy(backbone.normalise), fold_batch_norms(backbone.net)
        return _frozen(nn.Sequential(normalise, net))


def _frozen(module: nn.Module) -> nn.Module:
    ready = module.eval().requires_grad_(False).float()
    return ready.to(memory_format=torch.channels_last)
