"""Heads of frozen backbones, trained on features that are computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cxrlab.augmentation.augmenter import Augmenter
from cxrlab.config.schema import Config
from cxrlab.data.banks import Features, image_bank
from cxrlab.data.datamodule import ImageDataModule, to_unit
from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest
from cxrlab.layout import LAST
from cxrlab.model.classifier import Classifier
from cxrlab.training import build, features
from cxrlab.training.build import build_classifier
from cxrlab.training.features import feature_banks

CPU = torch.device("cpu")
FROZEN = ("model.freeze_backbone=true", "explanation=none", "model.backbone=resnet18")


@pytest.fixture
def config(tiny_compose, replica: Path, tmp_path: Path) -> Config:
    return tiny_compose(
        "data=chest_xray", f"data.root={replica}", f"data.cache={tmp_path / 'cache'}", *FROZEN,
        "model.feature_views=3", "augmentation=strong",
    )  # fmt: skip


@pytest.fixture
def data(config: Config) -> PreparedData:
    return prepare(load_manifest(config.data), config.data)


@pytest.fixture
def classifier(config: Config, data: PreparedData) -> Classifier:
    return build_classifier(config, data)[0]


def head(output: Path) -> dict[str, torch.Tensor]:
    state = torch.load(output / LAST, weights_only=False)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("head.")}


def test_the_head_learns_the_same_as_with_the_backbone_in_every_step(
    run_training, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In bfloat16 features differ by rounding from those of a batch of another size.
    exact = "trainer.precision=32-true"
    options = (*FROZEN, "augmentation=none", "trainer.max_epochs=3", exact)
    quick = run_training(*options, name="quick").output

    def images(config, data, classifier, device):
        bank = image_bank(data.pixels, data.rows, device)
        return bank, bank

    monkeypatch.setattr(build, "feature_banks", images)
    slow = run_training(*options, name="slow").output
    for name, value in head(slow).items():
        torch.testing.assert_close(head(quick)[name], value, rtol=1e-3, atol=1e-5)
    found, expected = (pd.read_csv(out / "predictions/test.csv") for out in (quick, slow))
    np.testing.assert_allclose(found["logit"], expected["logit"], rtol=1e-3, atol=1e-4)


def test_a_view_is_the_backbone_on_the_augmented_image(
    config: Config, data: PreparedData, classifier: Classifier
) -> None:
    bank, plain = feature_banks(config, data, classifier, CPU)
    row = int(np.flatnonzero(data.manifest.table["split"] == "train")[3])
    image = to_unit(torch.from_numpy(data.pixels[data.rows[[row]]])).unsqueeze(1)
    digest = data.facts["digest"].iloc[row]
    classifier.eval()
    for view in range(3):
        shown = image
        if view:
            seed = int(features._hash(f"{view}|{digest}")[:15], 16)
            shown = Augmenter(config.augmentation)(image, seed)
        with torch.no_grad():
            expected = classifier.backbone(shown)
        found = bank.gather(torch.tensor([row]), epoch=view)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(plain.gather(torch.tensor([row]), 1), bank.gather(torch.tensor([row]), 0))


def test_validation_images_have_no_augmented_view(
    config: Config, data: PreparedData, classifier: Classifier
) -> None:
    bank, _ = feature_banks(config, data, classifier, CPU)
    val = torch.from_numpy(np.flatnonzero(data.manifest.table["split"] == "val"))
    assert bank.gather(val, epoch=0).isfinite().all()
    assert bank.gather(val, epoch=1).isnan().all()


def test_trials_find_the_features_computed_unless_what_makes_them_changed(
    config: Config, data: PreparedData, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = []
    original = features.inference_backbone

    def counted(model: Classifier) -> nn.Module:
        network = original(model)
        network.register_forward_hook(lambda *_: forwards.append(1))
        return network

    monkeypatch.setattr(features, "inference_backbone", counted)

    def computed(**changes: object) -> bool:
        forwards.clear()
        changed = config.model_copy(update=changes)
        feature_banks(changed, data, classifier, CPU)
        return bool(forwards)

    assert computed()
    assert not computed(seed=7)
    assert not computed(optimizer=config.optimizer.model_copy(update={"lr": 0.5}))
    assert computed(augmentation=config.augmentation.model_copy(update={"rotation": 1.0}))
    with torch.no_grad():
        next(classifier.backbone.parameters()).add_(0.01)
    assert computed()


def test_batches_hold_features_and_no_images(
    config: Config, data: PreparedData, classifier: Classifier
) -> None:
    batches = build.build_datamodule(config, data, classifier, CPU)
    assert isinstance(batches, ImageDataModule)
    batch = next(iter(batches.train_dataloader()))
    assert "image" not in batch
    assert batch["features"].shape == (8, classifier.backbone.num_features)
    changed = batches.on_after_batch_transfer(batch, 0)
    assert torch.equal(changed["features"], batch["features"])
    assert isinstance(batches._eval_bank, Features)


def test_a_frozen_backbone_draws_nothing(tiny_compose, data: PreparedData) -> None:
    config = tiny_compose(
        "model.freeze_backbone=true", "model.backbone=convnext_atto", "model.drop_path=0.5"
    )
    classifier, _ = build_classifier(config, data)
    classifier.train()
    images = torch.rand(4, 1, 32, 32)
    assert torch.equal(classifier.backbone(images), classifier.backbone(images))
