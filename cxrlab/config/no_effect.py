"""Overrides of the group `data`, which is made for training, that a finished run decides itself."""

from __future__ import annotations

from collections.abc import Sequence

from cxrlab.errors import UserError

_WITHOUT_EFFECT = tuple(
    f"data.{key}"
    for key in ("image_size", "preprocess", "batch_size", "split=", "split_file", "site",
                "val_fraction", "test_fraction", "fold", "on_bad_image")
)  # fmt: skip


def refuse_without_effect(overrides: Sequence[str]) -> None:
    """Say no to what the run decides, or what decides nothing where nothing is trained.

    Raises:
        UserError: an override, as it was typed, has no effect.
    """
    for override in overrides:
        if override.lstrip("+~").startswith(_WITHOUT_EFFECT):
            raise UserError(
                f"{override}: has no effect, for size, preprocessing and batches are the run's and "
                "nothing is split; drop it (split=test takes a dataset's own test images)"
            )
