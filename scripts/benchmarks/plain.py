"""What people write: Lightning, ImageFolder, torchvision transforms, a DataLoader, float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytorch_lightning as pl
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import BinaryAUROC
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cxrlab.model.relu6 import InPlaceReLU6

BATCH = 32
SIDE = 224


class PlainClassifier(pl.LightningModule):
    """MobileNetV2 with the head of the Keras origin, as a tutorial would have it."""

    def __init__(self, weights: Path | None = None) -> None:
        """Build it, with pretrained weights where there are some."""
        super().__init__()
        extra = {"pad_type": "same"} if weights else {}
        self.backbone = timm.create_model("mobilenetv2_100", num_classes=0, **extra)
        if weights:
            state = {k: v for k, v in load_file(weights).items() if "classifier" not in k}
            self.backbone.load_state_dict(state, strict=False)
        self.head = nn.Sequential(
            nn.Linear(1280, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 1)
        )
        self.loss = nn.BCEWithLogitsLoss()
        self.auroc = BinaryAUROC()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B,) of images (B, 3, H, W)."""
        return self.head(self.backbone(images)).squeeze(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Binary cross-entropy."""
        images, targets = batch
        loss = self.loss(self(images), targets.float())
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """AUROC over the epoch."""
        images, targets = batch
        self.auroc(torch.sigmoid(self(images)), targets)
        self.log("val/auroc", self.auroc, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with the Keras origin's rate."""
        return torch.optim.Adam(self.parameters(), lr=1e-4)


def training_transform() -> transforms.Compose:
    """The Keras origin's augmentation, image by image."""
    return transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1)),
            transforms.ColorJitter(brightness=0.1, contrast=0.2),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


def evaluation_transform() -> transforms.Compose:
    """Resize and normalise."""
    return transforms.Compose(
        [
            transforms.Resize((SIDE, SIDE)),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


def loaders(train: Path, val: Path | None, workers: int) -> tuple[DataLoader, DataLoader | None]:
    """Batches of folders of class folders.

    Args:
        train: training images.
        val: validation images, if there are to be some.
        workers: of each loader.
    """
    options = {"batch_size": BATCH, "num_workers": workers, "persistent_workers": workers > 0}
    images = ImageFolder(str(train), training_transform())
    return (
        DataLoader(images, shuffle=True, drop_last=True, **options),
        DataLoader(ImageFolder(str(val), evaluation_transform()), **options) if val else None,
    )


class Files(Dataset[Tensor]):
    """Images of some files, for a prediction loop."""

    def __init__(self, files: Sequence[Path]) -> None:
        """List them."""
        self._files = list(files)
        self._transform = evaluation_transform()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        return self._transform(Image.open(self._files[index]).convert("RGB"))


def predictions(model: nn.Module, files: Sequence[Path], workers: int) -> Iterator[Tensor]:
    """Probabilities, batch by batch."""
    model.eval()
    with torch.no_grad():
        for images in DataLoader(Files(files), batch_size=BATCH, num_workers=workers):
            yield torch.sigmoid(model(images))


def restore_relu6(net: nn.Module) -> None:
    """Give a network of cxrlab the ReLU6 back that timm builds."""
    for name, module in list(net.named_modules()):
        if isinstance(module, InPlaceReLU6):
            net.set_submodule(name, nn.ReLU6(inplace=True))
