"""Frozen copies of a classifier that compute as fast as the hardware allows."""

from __future__ import annotations

import copy

import torch
from torch import nn

from cxrlab.model.classifier import Classifier
from cxrlab.model.folding import fold_batch_norms
from cxrlab.model.views import Views


def inference_network(classifier: Classifier, *, views: bool = True) -> nn.Module:
    """Copy what maps images to logits, for computing alone.

    The copy is in evaluation mode and float32, in channels_last layout, with batch norms folded
    into convolutions, and none of its parameters requires a gradient. But for the views, it
    differs from `Classifier.forward` in evaluation mode by rounding only.

    Args:
        classifier: not changed; the copy is on its device.
        views: average over the looks that `model.test_windows` and `model.test_mirror` name.

    Returns:
        Maps (B, 1, H, W) float32 in [0, 1] to logits: (B,) for two classes, else (B, K).
    """
    # Tensors made in inference mode can't take part in the gradient of an input.
    with torch.inference_mode(False):
        head = copy.deepcopy(classifier.head)
        network = _frozen(nn.Sequential(inference_backbone(classifier), head))
        if not views:
            return network
        looks = classifier.hparams["model"]
        windows, mirror = looks["test_windows"], looks["test_mirror"]
        if not mirror and tuple(windows) == (1.0,):
            return network
        return Views(network, windows, mirror=mirror).eval()


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
