"""From pooled features to logits."""

from __future__ import annotations

from torch import Tensor, nn


class Head(nn.Module):
    """Dense layer, ReLU, dropout, logits: the Keras origin's head, or logits alone."""

    def __init__(self, features: int, outputs: int, *, hidden: int | None, dropout: float) -> None:
        """Set up the layers.

        Args:
            features: width of the pooled features.
            outputs: logits; 1 for two classes.
            hidden: width of the dense layer; None leaves it out.
            dropout: dropout before the last layer.
        """
        super().__init__()
        dense = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
        last = nn.Linear(hidden or features, outputs)
        self.layers = nn.Sequential(*dense, nn.Dropout(dropout), last)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, features) to logits: (B,) for a single output, else (B, outputs)."""
        logits: Tensor = self.layers(features)
        return logits.squeeze(1) if logits.shape[1] == 1 else logits
