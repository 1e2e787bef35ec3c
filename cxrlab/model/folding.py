"""Batch norms folded into the convolutions in front of them, for networks that only compute."""

from __future__ import annotations

import copy
from collections import Counter
from typing import cast

from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrlab.model.depthwise import StridedDepthwise

# Exactly these: a subclass may do more, such as standardising its weights on the way.
_CONVOLUTIONS = (nn.Conv2d, Conv2dSame, StridedDepthwise)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """Copy a network for inference without the batch norms that follow a convolution.

    With fixed statistics such a norm is a factor and a shift of each channel, which the
    convolution's weights and bias take up. It is folded only where the traced graph shows that it
    alone reads the convolution's output; in DenseNet, for instance, most norms stand before
    their convolution. The order of the modules would prove nothing.

    Args:
        net: any network; it is not changed.

    Returns:
        A copy in evaluation mode. What `torch.fx` can't trace is copied with all its norms.
    """
    folded = copy.deepcopy(net).eval()
    for conv, norm in _foldable(folded):
        before = cast("nn.Conv2d", folded.get_submodule(conv))
        after = cast("_BatchNorm", folded.get_submodule(norm))
        folded.set_submodule(conv, fuse_conv_bn_eval(before, after).eval())
        folded.set_submodule(norm, _rest(after).eval())
    return folded


class _LayerTracer(fx.Tracer):
    """A graph whose nodes are whole layers, also those that timm derives from torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_layer = isinstance(m, (nn.Conv2d, _BatchNorm, nn.ReLU6))
        return is_layer or super().is_leaf_module(m, module_qualified_name)


def _foldable(net: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution and the norm that is its only reader."""
    graph = _trace(net)
    if graph is None:
        return []
    layers = [node for node in graph.nodes if node.op == "call_module"]
    calls = Counter(str(node.target) for node in layers)
    names = Counter(module for _, module in net.named_modules(remove_duplicate=False))
    pairs = []
    for node in layers:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        conv, norm = str(source.target), str(node.target)
        modules = net.get_submodule(conv), net.get_submodule(norm)
        is_pair = type(modules[0]) in _CONVOLUTIONS and type(modules[1]) in _NORMS
        # A layer in two places would be changed in both.
        is_sole = calls[conv] == calls[norm] == 1 and all(names[module] == 1 for module in modules)
        if is_pair and is_sole and modules[1].running_mean is not None:
            pairs.append((conv, norm))
    return pairs


def _trace(net: nn.Module) -> fx.Graph | None:
    try:
        return _LayerTracer().trace(net)
    except Exception:  # networks fail to trace in as many ways as they are written
        return None


def _rest(norm: nn.Module) -> nn.Module:
    """What a norm layer does after normalising."""
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)
    return nn.Identity()
