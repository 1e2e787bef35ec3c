from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlab.model.metrics import epoch_metrics
from cxrlab.task import Task


def test_two_classes_by_hand() -> None:
    metrics = epoch_metrics(Task.exclusive(("WELL", "SICK")))
    metrics.update(torch.tensor([0.1, 0.6, 0.4, 0.9]), torch.tensor([0, 0, 1, 1]))
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values["val/auroc"] == 0.75
    assert values["val/accuracy_at_half"] == 0.5


def test_findings_are_averaged_over_those_that_can_be_judged_and_are_known() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 4)) < 0.4).astype(np.float32)
    truth[rng.random((60, 4)) < 0.2] = np.nan
    truth[:, 2] = np.where(np.isnan(truth[:, 2]), np.nan, 0)  # never present
    truth[:, 3] = np.nan
    score = rng.random((60, 4)).astype(np.float32)
    metrics = epoch_metrics(Task.multilabel(tuple("ABCD")))
    for rows in (slice(0, 25), slice(25, 60)):
        metrics.update(torch.from_numpy(score[rows]), torch.from_numpy(truth[rows]))
    values = metrics.compute()
    known = [~np.isnan(truth[:, k]) for k in range(2)]
    for name, reference in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        each = [reference(truth[known[k], k], score[known[k], k]) for k in range(2)]
        assert float(values[f"val/{name}"]) == pytest.approx(np.mean(each), abs=1e-6)
    metrics.reset()
    metrics.update(torch.rand(3, 4), torch.full((3, 4), math.nan))
    assert math.isnan(metrics.compute()["val/auroc"])
