from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from cxrlab.model.losses import ClassificationLoss, class_weights


def plain(classes: int = 2, **options: float) -> ClassificationLoss:
    settings = {"label_smoothing": 0.0, "focal_gamma": 0.0, **options}
    return ClassificationLoss([1.0] * classes, **settings)


def test_two_classes_are_binary_cross_entropy() -> None:
    logits, target = torch.tensor([0.3, -1.2, 4.0]), torch.tensor([1, 0, 0])
    expected = functional.binary_cross_entropy_with_logits(logits, target.float())
    torch.testing.assert_close(plain()(logits, target), expected)


def test_by_hand() -> None:
    # Logit 0 gives p = 1/2: loss log 2. Logit log 3 gives p = 3/4: loss log(4/3).
    logits, target = torch.tensor([0.0, math.log(3)]), torch.tensor([1, 1])
    assert plain()(logits, target).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    # Focal with gamma 2 weighs them by (1/2)^2 and (1/4)^2.
    expected = (math.log(2) / 4 + math.log(4 / 3) / 16) / 2
    assert plain(focal_gamma=2.0)(logits, target).item() == pytest.approx(expected)
    # Smoothing 0.2 leaves 0.9 for the true class and 0.1 for the other.
    smoothed = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    loss = plain(label_smoothing=0.2)(logits[1:], target[1:])
    assert loss.item() == pytest.approx(smoothed)


def test_weights_are_a_weighted_mean() -> None:
    loss = ClassificationLoss([1.0, 3.0], label_smoothing=0.0, focal_gamma=0.0)
    logits, target = torch.tensor([0.0, math.log(3)]), torch.tensor([0, 1])
    expected = (math.log(2) + 3 * math.log(4 / 3)) / 4
    assert loss(logits, target).item() == pytest.approx(expected)


def test_three_classes_are_softmax_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    expected = functional.cross_entropy(logits, target)
    torch.testing.assert_close(plain(3)(logits, target), expected)


def test_half_precision_logits_give_a_float32_loss() -> None:
    assert (
        plain()(torch.zeros(2, dtype=torch.bfloat16), torch.tensor([0, 1])).dtype == torch.float32
    )


def test_balanced_weights() -> None:
    targets = torch.tensor([0, 1, 1, 1])
    assert class_weights(targets, 2, balanced=True) == pytest.approx([2.0, 2 / 3])
    assert class_weights(targets, 2, balanced=False) == [1.0, 1.0]


def test_findings_are_mean_binary_cross_entropy_over_what_is_known() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 5.0]])
    target = torch.tensor([[1.0, 0.0], [1.0, math.nan]])
    # log 2, then 1 - 3/4 for an absent finding: log 4, then log 2; the unknown one takes no part.
    expected = (math.log(2) + math.log(4) + math.log(2)) / 3
    assert plain()(logits, target).item() == pytest.approx(expected)


def test_an_unknown_finding_has_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    target = torch.tensor([[1.0, math.nan, 0.0], [math.nan, math.nan, 1.0]])
    plain(3)(logits, target).backward()
    assert ((logits.grad == 0) == target.isnan()).all()


def test_a_batch_without_any_known_finding_has_loss_zero() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = plain()(logits, torch.full((1, 2), math.nan))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_weights_of_findings_count_for_those_present() -> None:
    loss = ClassificationLoss([3.0, 1.0], label_smoothing=0.0, focal_gamma=0.0)
    logits, target = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]])
    assert loss(logits, target).item() == pytest.approx((3 * math.log(4 / 3) + math.log(2)) / 4)


def test_balanced_findings() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [math.nan, 0.0]])
    assert class_weights(targets, 2, balanced=True) == pytest.approx([2.0, 3.0])
