from __future__ import annotations

import pytest
import torch

from cxrlab.data.datamodule import resized
from cxrlab.errors import UserError
from cxrlab.model.backbone import Backbone


def test_training_images_grow_and_validation_images_are_whole(
    run_training, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, list[int]] = {True: [], False: []}
    forward = Backbone.forward

    def watched(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen[self.training].append(images.shape[-1])
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", watched)
    # In bfloat16 torch reads memory that nothing was written to at 1 x 1, and finds NaN there.
    run_training("trainer.progressive=[[0.5,16],[0.75,24]]", "trainer.max_epochs=4",
                 "explanation=none", "trainer.precision=32-true")  # fmt: skip
    steps = len(seen[True])
    expected = [16 if i < steps / 2 else 24 if i < steps * 3 / 4 else 32 for i in range(steps)]
    assert steps >= 4
    assert seen[True] == expected
    assert set(seen[False]) == {32}


def test_a_smaller_image_keeps_its_mean_and_its_place() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., :32] = 1
    small = resized(image, 16)
    assert small.shape == (1, 1, 16, 16)
    assert small.mean() == pytest.approx(0.5, abs=0.01)
    assert small[..., :7].min() > 0.99
    assert small[..., 9:].max() < 0.01


def test_fine_stripes_become_gray_and_no_coarse_ones() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert (resized(stripes, 24) - 0.5).abs().max() < 0.1


def test_the_stored_size_is_left_alone() -> None:
    image = torch.rand(2, 1, 16, 16)
    assert resized(image, None) is image
    assert resized(image, 16) is image


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer.progressive=[[0.8,128],[0.5,160]]"], "must rise"),
        (["trainer.progressive=[[1.5,128]]"], "less than 1"),
        (["trainer.progressive=[[0.5,4]]"], "at least 16"),
        (["trainer.progressive=[[0.5,64]]", "model.freeze_backbone=true"], "frozen backbone"),
        (["model.feature_views=4"], "only a frozen backbone has views"),
        (
            ["model.freeze_backbone=true", "model.feature_views=4", "augmentation=none"],
            "all views are the same",
        ),
    ],
)
def test_what_can_have_no_effect_is_refused(overrides: list[str], words: str, compose) -> None:
    with pytest.raises(UserError, match=words):
        compose(*overrides)
