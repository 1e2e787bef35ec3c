from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from cxrlab import errors
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.gallery import explain_cases
from cxrlab.explanation.selection import gallery_cases
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
FINDINGS = Task.multilabel(("Effusion", "Mass"))


class Brightness:
    """A method whose map is the image, with a completeness error of each image's choosing."""

    name, tolerance = "brightness", 0.05

    def __init__(self, errors: dict[int, float] | None = None) -> None:
        self.errors = errors or {}
        self.targets: list[int] = []

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        assert targets is not None
        self.targets = targets.tolist()
        count = len(images)
        return Attribution(
            maps=images[:, 0].numpy(),
            completeness_error=np.array([self.errors.get(i, 0.01) for i in range(count)]),
            steps=np.full(count, 32),
            output=np.zeros(count),
            baseline_output=np.zeros(count),
            method=self.name,
            seconds=0.5 * count,
        )


@pytest.fixture
def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [f"PNEUMONIA/{letter}.png" for letter in "abcdef"],
            "target": [1, 1, 0, 0, 1, 1],
            "probability": [0.9, 0.8, 0.1, 0.7, 0.2, 0.95],
            "decision": [1, 1, 0, 1, 0, 1],
        }
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (6, 24, 24), dtype=np.uint8)


def explain(
    predictions, images, output, method=None, kinds=1, task=TWO, thresholds=(0.5,), **more
) -> dict[str, float]:
    """Explain the first kinds: drawing is what takes the time."""
    cases = gallery_cases(predictions, task, per_kind=2)
    return explain_cases(
        nn.Identity(),
        method or Brightness(),
        {kind: cases[kind] for kind in list(cases)[:kinds]},
        images,
        task=task,
        thresholds=thresholds,
        output=output,
        **more,
    )


def test_writes_one_figure_a_kind_and_the_table(predictions, images, tmp_path: Path):
    metrics = explain(predictions, images, tmp_path, Brightness({0: 0.02, 4: 0.04}), kinds=4)
    names = {path.name for path in (tmp_path / "explanations").iterdir()}
    assert names == {
        "completeness.csv",
        "gallery_true_positives.png",
        "gallery_true_negatives.png",
        "gallery_false_positives.png",
        "gallery_false_negatives.png",
    }
    table = pd.read_csv(tmp_path / "explanations" / "completeness.csv")
    assert table.columns.tolist() == ["path", "kind", "explained", "error", "steps"]
    assert table["path"].str.slice(10, 11).tolist() == ["f", "a", "c", "d", "e"]
    assert table["kind"].tolist()[2:] == ["true_negatives", "false_positives", "false_negatives"]
    assert (table["explained"] == "PNEUMONIA").all()
    assert table["error"].tolist() == [0.02, 0.01, 0.01, 0.01, 0.04]
    assert metrics == {
        "explanation/completeness_error": pytest.approx(0.01),
        "explanation/completeness_error_worst": pytest.approx(0.04),
        "explanation/seconds_per_image": pytest.approx(0.5),
    }


def test_explains_the_only_logit_of_two_classes(predictions, images, tmp_path: Path):
    method = Brightness()
    explain(predictions, images, tmp_path, method, kinds=2)
    assert method.targets == [1, 1, 1]


def test_explains_the_decided_class_of_several(images, tmp_path: Path):
    probability = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    predictions = pd.DataFrame(probability, columns=[f"probability_{name}" for name in "abc"])
    predictions = predictions.assign(path=list("xyz"), target=[2, 0, 0], decision=[2, 0, 1])
    method = Brightness()
    task = Task.exclusive(("a", "b", "c"))
    explain(predictions, images, tmp_path, method, kinds=2, task=task, thresholds=())
    assert method.targets == [0, 2, 1]


@pytest.fixture
def findings() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [f"{letter}.png" for letter in "abcdef"],
            "target_Effusion": pd.array([1, None, 0, 0, 1, 0], dtype="Int64"),
            "target_Mass": [0, 1, 0, 0, 0, 0],
            "probability_Effusion": [0.9, 0.99, 0.1, 0.7, 0.2, 0.1],
            "probability_Mass": [0.1, 0.8, 0.6, 0.1, 0.1, 0.1],
            "decision_Effusion": [1, 1, 0, 1, 0, 0],
            "decision_Mass": [0, 1, 1, 0, 0, 0],
        }
    )


def test_explains_the_finding_that_a_case_is_of(findings, images, tmp_path: Path):
    method = Brightness()
    explain(findings, images, tmp_path, method, kinds=4, task=FINDINGS, thresholds=(0.5, 0.5))
    table = pd.read_csv(tmp_path / "explanations" / "completeness.csv")
    by_kind = table.groupby("kind", sort=False)[["path", "explained"]].agg(list)
    assert by_kind.loc["true_positives"].tolist() == [["a.png", "b.png"], ["Effusion", "Mass"]]
    assert by_kind.loc["false_positives"].tolist() == [["d.png", "c.png"], ["Effusion", "Mass"]]
    assert by_kind.loc["false_negatives"].tolist() == [["e.png"], ["Effusion"]]
    assert [FINDINGS.classes[index] for index in method.targets] == table["explained"].tolist()


def test_measures_lesions_only_where_the_finding_is_present(findings, images, tmp_path: Path):
    masks = np.zeros(images.shape, dtype=bool)
    masks[[0, 2], 9:15, 9:15] = True
    images[0] = 0
    images[0, 10:14, 10:14] = 255  # an effusion: a hit
    images[2] = 0
    images[2, 2:6, 2:6] = 255  # a mass that is not there: its miss must not count
    metrics = explain(
        findings,
        images,
        tmp_path,
        kinds=3,
        task=FINDINGS,
        thresholds=(0.5, 0.5),
        masks=masks.__getitem__,
    )
    assert metrics["explanation/pointing_game"] == 1
    assert metrics["explanation/mass_in_mask"] == 1


def test_measures_positives_with_a_lesion_only(predictions, images, tmp_path: Path):
    images[5] = 0
    images[5, 10:14, 10:14] = 255  # explained as the lesion: a hit, all mass inside
    images[0] = 0
    images[0, 2:6, 2:6] = 255  # explained elsewhere: a miss, no mass inside
    masks = np.zeros(images.shape, dtype=bool)
    masks[[0, 5], 9:15, 9:15] = True
    masks[3] = True  # a negative's mask must not count
    metrics = explain(predictions, images, tmp_path, kinds=3, masks=masks.__getitem__)
    assert metrics["explanation/pointing_game"] == pytest.approx(0.5)
    assert metrics["explanation/mass_in_mask"] == pytest.approx(0.5)


def test_says_nothing_of_lesions_where_there_are_none(predictions, images, tmp_path: Path):
    metrics = explain(
        predictions, images, tmp_path, masks=np.zeros(images.shape, dtype=bool).__getitem__
    )
    assert "explanation/pointing_game" not in metrics


def test_names_images_that_miss_the_tolerance(predictions, images, tmp_path: Path, caplog):
    metrics = explain(predictions, images, tmp_path, Brightness({1: np.inf, 2: 0.3}), kinds=3)
    assert "2 of 4 explained images miss" in caplog.text
    assert "PNEUMONIA/a.png, PNEUMONIA/c.png" in caplog.text
    assert metrics["explanation/completeness_error_worst"] == np.inf


def test_methods_without_completeness_report_none(predictions, images, tmp_path: Path):
    metrics = explain(predictions, images, tmp_path, Brightness(dict.fromkeys(range(6), np.nan)))
    assert set(metrics) == {"explanation/seconds_per_image"}


def test_no_cases_leave_an_empty_table(predictions, images, tmp_path: Path):
    assert explain(predictions.iloc[:0], images[:0], tmp_path) == {}
    table = pd.read_csv(tmp_path / "explanations" / "completeness.csv")
    assert table.columns.tolist() == ["path", "kind", "explained", "error", "steps"]


def test_refuses_masks_of_another_size(predictions, images, tmp_path: Path):
    with pytest.raises(errors.UserError, match="do not fit"):
        explain(predictions, images, tmp_path, masks=np.zeros((6, 12, 12), dtype=bool).__getitem__)


def test_gives_the_method_images_in_unit_range(predictions, images, tmp_path: Path):
    class Checking(Brightness):
        def __call__(
            self, network: nn.Module, images: Tensor, targets: Tensor | None = None
        ) -> Attribution:
            assert images.shape == (2, 1, 24, 24)
            assert images.dtype == torch.float32
            assert 0.5 < images.max() <= 1
            return super().__call__(network, images, targets)

    explain(predictions, images, tmp_path, Checking())
