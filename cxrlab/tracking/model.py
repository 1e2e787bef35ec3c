"""The network as an MLflow model."""

from __future__ import annotations

import logging
import warnings

import mlflow
import numpy as np
import torch
from mlflow.models import infer_signature

from cxrlab.model.classifier import Classifier
from cxrlab.tracking.provenance import package_versions
from cxrlab.tracking.run import Run

NAME = "model"


def log_network(run: Run, classifier: Classifier) -> None:
    """Log the classifier with signature and input example.

    The logged model takes (B, 1, H, W) float32 in [0, 1], H and W being the run's input size, and
    gives logits; it is an exported graph (pt2), so loading it needs torch and not this package.

    Args:
        run: an open run.
        classifier: with its final weights.
    """
    classifier = classifier.cpu().eval()
    size = classifier.image_size
    # Two images, since torch.export takes a batch of one for a constant.
    example = np.zeros((2, 1, size, size), dtype=np.float32)
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(example)).numpy()
    mlflow.set_tracking_uri(run.uri)
    versions = package_versions()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with mlflow.start_run(run_id=run.run_id), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.log_model(
            classifier.network(),
            name=NAME,
            signature=infer_signature(example, logits),
            input_example=example,
            pip_requirements=[f"{p}=={versions[p]}" for p in ("torch", "numpy")],
            metadata={
                "task": classifier.task.kind,
                "classes": list(classifier.task.classes),
                "image_size": size,
                "preprocess": dict(classifier.hparams["preprocess"]),
            },
        )
