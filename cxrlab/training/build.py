"""From a configuration to the objects that train: data module and classifier."""

from __future__ import annotations

import torch

from cxrlab.augmentation.augmenter import Augmenter
from cxrlab.config.schema import Config
from cxrlab.data.banks import Bank, image_bank
from cxrlab.data.batches import Share
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.data.prepare import PreparedData
from cxrlab.model.classifier import Classifier
from cxrlab.model.losses import class_weights
from cxrlab.model.weights import find_weights
from cxrlab.training.features import feature_banks
from cxrlab.training.ranks import Ranks


def build_datamodule(
    config: Config,
    data: PreparedData,
    classifier: Classifier,
    device: torch.device,
    ranks: Ranks = Ranks(),  # noqa: B008  immutable
) -> ImageDataModule:
    """Batches of the configured size, order and augmentation; of features, where all is frozen.

    Raises:
        UserError: features can't be stored.
    """
    train_bank: Bank
    eval_bank: Bank
    if config.model.freeze_backbone:
        train_bank, eval_bank = feature_banks(config, data, classifier, device)
    else:
        train_bank = eval_bank = image_bank(data.pixels, data.rows, device)
    return ImageDataModule(
        data,
        train_bank=train_bank,
        eval_bank=eval_bank,
        batch_size=config.data.batch_size,
        eval_batch_size=config.evaluation.batch_size,
        seed=config.seed,
        augment=Augmenter(config.augmentation),
        share=Share(ranks.rank, ranks.count),
    )


def build_classifier(config: Config, data: PreparedData) -> tuple[Classifier, str]:
    """A classifier with its first weights, and the name of those.

    The configured seed decides every random weight, whatever was drawn before.

    Raises:
        UserError: backbone or weights can't be had.
    """
    weights = find_weights(config.model.backbone, config.model.weights)
    task = data.manifest.task
    targets = torch.tensor(task.targets(data.manifest.split("train")))
    balanced = config.loss.class_weights == "balanced"
    torch.manual_seed(config.seed)
    classifier = Classifier(
        task=task.kind,
        classes=list(task.classes),
        image_size=config.data.image_size,
        preprocess=config.data.preprocess.model_dump(mode="json"),
        mean=list(weights.mean),
        std=list(weights.std),
        model_args=dict(weights.model_args),
        class_weights=class_weights(targets, len(task.classes), balanced=balanced),
        model=config.model.model_dump(mode="json"),
        loss=config.loss.model_dump(mode="json"),
        optimizer=config.optimizer.model_dump(mode="json"),
        scheduler=config.scheduler.model_dump(mode="json"),
    )
    classifier.backbone.load(weights)
    return classifier, weights.tag
