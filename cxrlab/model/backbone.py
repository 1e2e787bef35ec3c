"""A timm network without its classifier, with the normalisation that its weights expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
from timm.models import group_parameters
from torch import Tensor, nn

from cxrlab.errors import UserError
from cxrlab.model.depthwise import replace_strided_depthwise
from cxrlab.model.normalise import Normalise
from cxrlab.model.relu6 import replace_relu6
from cxrlab.model.weights import Weights


class Backbone(nn.Module):
    """Normalisation and a timm feature extractor with global average pooling.

    Attributes:
        num_features: width of the pooled features.
        net: the timm network.
    """

    net: Any

    def __init__(
        self,
        name: str,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        model_args: Mapping[str, Any],
        drop_path: float,
        standardise: bool,
    ) -> None:
        """Build the network with random weights.

        Args:
            name: a timm model name.
            mean: mean of each input channel that the weights expect.
            std: SD of each input channel.
            model_args: further arguments of the timm constructor, such as padding.
            drop_path: stochastic depth rate.
            standardise: see `Normalise`.
        """
        super().__init__()
        self.normalise = Normalise(mean, std, standardise=standardise)
        extra: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        network: Any = timm.create_model(
            name, pretrained=False, num_classes=0, in_chans=len(mean), **extra, **model_args
        )
        # Some networks widen the pooled features once more before the classifier.
        self.num_features = int(getattr(network, "head_hidden_size", network.num_features))
        replace_strided_depthwise(network)
        replace_relu6(network)
        self.net = network
        self._frozen: tuple[nn.Module, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, H, W) float32 in [0, 1] to pooled features (B, num_features)."""
        features: Tensor = self.net(self.normalise(images))
        return features

    def load(self, weights: Weights) -> None:
        """Put first weights in; those of another classifier are left out.

        Raises:
            UserError: the weights belong to another architecture.
        """
        if weights.state is None:
            return
        own = self.net.state_dict()
        usable = {k: v for k, v in weights.state.items() if k in own and v.shape == own[k].shape}
        missing = [k for k in own if k not in usable and not k.endswith("num_batches_tracked")]
        if missing:
            raise UserError(
                f"model.weights ({weights.tag}): {len(missing)} of {len(own)} tensors of the "
                f"backbone are absent or of another shape (first: {missing[0]}); "
                "give weights of this backbone"
            )
        self.net.load_state_dict(usable, strict=False)

    def freeze(self, stages: int | None) -> None:
        """Fix the first stages (the stem is the first), or all with None.

        Frozen batch norms keep their statistics too.

        Raises:
            UserError: the backbone has fewer stages.
        """
        groups = group_parameters(self.net, self.net.group_matcher(coarse=True))
        ordered = [names for _, names in sorted(groups.items())]
        if stages is not None and stages > len(ordered):
            raise UserError(
                f"model.freeze_stages={stages}: the backbone has {len(ordered)} stages; "
                f"nearest valid: model.freeze_stages={len(ordered)}"
            )
        frozen = {name for names in ordered[:stages] for name in names}
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad = parameter.requires_grad and name not in frozen
        self._frozen = tuple(m for m in self.net.modules() if _is_frozen_norm(m))
        if stages is None:
            # Nothing in it may be drawn anew: its features are computed once.
            self._frozen = (self.net,)
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Switch mode, except for what is frozen: the batch norms of frozen stages, or all."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self


def _is_frozen_norm(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return is_norm and bool(own) and not any(p.requires_grad for p in own)
