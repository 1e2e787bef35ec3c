"""Whole trainings, without MLflow; what MLflow holds is tested in test_tracked_run.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlab.config.datasets import Preprocess
from cxrlab.config.paths import conf_dir
from cxrlab.data.images import decode
from cxrlab.data.sources import load_manifest
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.layout import BEST, LAST
from cxrlab.model.classifier import Classifier
from cxrlab.task import Task

PNEUMONIA = Task.exclusive(("NORMAL", "PNEUMONIA"))
EXPERIMENTS = sorted(f.stem for f in (conf_dir() / "experiment").glob("*.yaml"))
DEBUGS = sorted(f.stem for f in (conf_dir() / "debug").glob("*.yaml"))


def weights(output) -> dict[str, torch.Tensor]:
    return torch.load(output / LAST, weights_only=False)["state_dict"]


def metrics(output) -> pd.DataFrame:
    return pd.read_csv(output / "metrics.csv")


def last(output, name: str) -> float:
    table = metrics(output)
    return float(table[table["name"] == name]["value"].iloc[-1])


def test_a_run_leaves_everything_in_its_folder(run_training) -> None:
    output = run_training().output
    for file in (
        "config/config.yaml",
        "config/overrides.yaml",
        "config/environment.txt",
        "data/manifest.csv",
        "predictions/val.csv",
        "predictions/test.csv",
        "figures/confusion_matrix.png",
        "figures/roc.png",
        "figures/precision_recall.png",
        "figures/reliability.png",
        "figures/decision_curve.png",
        "figures/scores.png",
        "figures/val_roc.png",
        "figures/augmentation.png",
        "explanations/completeness.csv",
        BEST,
        LAST,
        "metrics.csv",
    ):
        assert (output / file).stat().st_size > 0, file
    assert list((output / "explanations").glob("panel_*.png"))
    assert list((output / "explanations").glob("gallery_*.png"))


def test_it_learns_what_can_be_learnt(run_training) -> None:
    output = run_training(
        "trainer.max_epochs=12", "optimizer.lr=3e-3", "augmentation=none", "explanation=none",
        "model.backbone=resnet18", "optimizer.backbone_lr_factor=1", "data.val_fraction=0.4",
    ).output  # fmt: skip
    assert last(output, "test/auroc") > 0.95


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(run_training) -> None:
    first = run_training("explanation=none", name="a").output
    second = run_training(name="b").output  # a panel is drawn in between
    third = run_training("explanation=none", "seed=1", name="c").output
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name
    pd.testing.assert_frame_equal(
        read_predictions(first / "predictions/test.csv"),
        read_predictions(second / "predictions/test.csv"),
    )
    assert not torch.equal(
        weights(first)["head.layers.0.weight"], weights(third)["head.layers.0.weight"]
    )


def test_the_numbers_are_those_of_the_prediction_table(run_training) -> None:
    run = run_training("explanation=none")
    table = read_predictions(run.output / "predictions/test.csv")
    threshold = last(run.output, "test/threshold")
    again = evaluate_table(table, PNEUMONIA, thresholds=[threshold])
    for name, value in again.values.items():
        assert last(run.output, f"test/{name}") == pytest.approx(value, abs=1e-12), name


def test_the_best_checkpoint_alone_makes_the_same_predictions(run_training, cache_folder) -> None:
    options = ("model.standardise=true", "data.preprocess.percentiles=[1,99]")
    run = run_training("explanation=none", *options)
    classifier = Classifier.load_from_checkpoint(run.output / BEST, map_location="cpu").eval()
    table = read_predictions(run.output / "predictions/test.csv")
    root = load_manifest(run.config.data).root
    how = Preprocess.model_validate(classifier.hparams["preprocess"])
    images = np.stack(
        [decode((root / p).read_bytes(), classifier.image_size, how).pixels for p in table["path"]]
    )
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(images).float()[:, None] / 255)
    np.testing.assert_allclose(logits.numpy(), table["logit"], atol=1e-4)
    point = torch.load(run.output / BEST, weights_only=True)["operating_point"]
    assert point["calibration"]["temperature"] > 0
    assert [threshold["origin"] for threshold in point["thresholds"]] == ["val"]
    assert classifier.task == PNEUMONIA


def test_test_is_not_read_when_it_is_not_to_be(run_training) -> None:
    output = run_training("evaluation.test=false", "explanation=none").output
    assert not (output / "predictions/test.csv").exists()
    assert not metrics(output)["name"].str.startswith("test/").any()
    assert (output / "predictions/val.csv").exists()


def test_the_threshold_comes_from_validation(run_training) -> None:
    output = run_training("explanation=none", "threshold=sensitivity:0.9").output
    validated = read_predictions(output / "predictions/val.csv")
    sick = validated[validated["target"] == 1]
    assert sick["decision"].mean() >= 0.9
    assert last(output, "val/threshold") == last(output, "test/threshold")


def test_three_classes(run_training) -> None:
    output = run_training(
        "data.target=pathogen", "data.val_fraction=0.3", "scheduler=plateau", "optimizer=sgd"
    ).output
    table = read_predictions(output / "predictions/test.csv")
    columns = ["probability_NORMAL", "probability_BACTERIA", "probability_VIRUS"]
    np.testing.assert_allclose(table[columns].sum(axis=1), 1)
    assert {"test/auroc", "test/auroc_VIRUS", "test/accuracy"} <= set(metrics(output)["name"])
    assert (output / "figures/confusion_matrix.png").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.freeze_backbone=true", "loss=balanced"),
        ("trainer.ema_decay=0.9", "loss=focal"),
        ("model.hidden=null", "scheduler=none", "optimizer=adam", "augmentation=strong"),
        ("trainer.channels_last=false", "trainer.gradient_clip=1", "trainer.accumulate=2"),
        ("trainer.precision=bf16-mixed", "trainer.deterministic=true", "scheduler=cosine"),
    ],
    ids=lambda o: " ".join(o),
)
def test_options_train(overrides: tuple[str, ...], run_training) -> None:
    output = run_training("explanation=none", "trainer.max_epochs=1", *overrides).output
    assert np.isfinite(last(output, "test/auroc"))


def test_a_frozen_backbone_keeps_its_weights(run_training) -> None:
    output = run_training("explanation=none", "model.freeze_backbone=true").output
    torch.manual_seed(0)
    trained = weights(output)
    fresh = Classifier.load_from_checkpoint(output / BEST, map_location="cpu")
    for name, value in fresh.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, trained[name]), name


def test_averaged_weights_are_what_is_validated_and_saved(run_training) -> None:
    output = run_training("explanation=none", "trainer.ema_decay=0.99").output
    best = torch.load(output / BEST, weights_only=True)["state_dict"]
    checkpoint = torch.load(output / LAST, weights_only=False)
    current = checkpoint["current_model_state"]
    name = "head.layers.0.weight"
    assert not torch.equal(best[name], current[name])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs(experiment: str, run_training) -> None:
    output = run_training(
        f"experiment={experiment}", "debug=fast", "data=chest_xray", "trainer.max_epochs=1"
    ).output
    assert np.isfinite(last(output, "test/auroc"))


@pytest.mark.parametrize("debug", DEBUGS)
def test_every_debug_configuration_runs(debug: str, run_training) -> None:
    output = run_training(f"debug={debug}", "trainer.max_epochs=1").output
    assert (output / BEST).exists()


def test_unreadable_images_are_left_out_and_named(run_training, replica, tmp_path, caplog) -> None:
    import shutil

    root = tmp_path / "damaged"
    shutil.copytree(replica, root)
    victim = sorted((root / "train" / "NORMAL").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:100])
    output = run_training("explanation=none", f"data.root={root}", name="kept").output
    assert victim.name in caplog.text
    listed = pd.read_csv(output / "data/manifest.csv")["path"]
    assert not listed.str.endswith(victim.name).any()
    assert victim.name in (output / "data/bad_images.yaml").read_text()


def test_an_unreadable_image_stops_the_run_where_it_is_to(run_training, replica, tmp_path) -> None:
    import shutil

    from cxrlab.errors import UserError

    root = tmp_path / "damaged"
    shutil.copytree(replica, root)
    victim = sorted((root / "test" / "NORMAL").iterdir())[0]
    victim.write_bytes(b"")
    with pytest.raises(UserError, match=rf"{victim.name} \(empty file\)"):
        run_training(f"data.root={root}", "data.on_bad_image=error")


def test_patients_are_hashed_unless_they_are_to_be_plain(run_training) -> None:
    hashed = run_training("explanation=none", "trainer.max_epochs=1", name="h").output
    plain = run_training(
        "explanation=none", "trainer.max_epochs=1", "tracking.patient_ids=plain", name="p"
    ).output
    for file in ("data/manifest.csv", "predictions/test.csv"):
        one, other = pd.read_csv(hashed / file), pd.read_csv(plain / file)
        assert other["patient_id"].str.contains("person|IM").all()
        assert not one["patient_id"].astype(str).str.contains("person|IM").any()
        assert sorted(one["patient_id"].value_counts()) == sorted(
            other["patient_id"].value_counts()
        )


@pytest.mark.slow
def test_a_compiled_backbone_trains_to_a_checkpoint_of_the_usual_names(run_training) -> None:
    options = ("explanation=none", "trainer.max_epochs=1", "model.backbone=resnet10t")
    compiled = run_training(*options, "trainer.compile=default", name="compiled").output
    plain = run_training(*options, name="plain").output
    assert weights(compiled).keys() == weights(plain).keys()
    assert last(compiled, "val/loss") == pytest.approx(last(plain, "val/loss"), rel=1e-3)


def test_the_backbone_is_compiled_in_the_mode_that_is_asked_for(
    run_training, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, mode: modes.append(mode))
    run_training("explanation=none", "trainer.max_epochs=1", "trainer.compile=reduce-overhead")
    assert modes == ["reduce-overhead"]


def test_the_profile_is_shown(run_training, caplog: pytest.LogCaptureFixture) -> None:
    run_training("explanation=none", "trainer.max_epochs=1", "trainer.profiler=simple")
    assert "run_training_batch" in caplog.text


def test_mixup_mixes_pairs_and_their_losses(run_training, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = run_training("explanation=none", "trainer.max_epochs=1", "loss.mixup=0.3")
    assert np.isfinite(last(trained.output, "train/loss"))
    classifier = Classifier.load_from_checkpoint(trained.output / BEST, map_location="cpu").eval()
    images = torch.rand(4, 1, 32, 32)
    batch = {"image": images, "target": torch.tensor([0, 1, 1, 0]), "index": torch.arange(4)}
    seen: list[torch.Tensor] = []

    def first_pixels(shown: torch.Tensor) -> torch.Tensor:
        seen.append(shown)
        return shown[:, 0, 0, 0]

    monkeypatch.setattr(classifier.backbone, "forward", first_pixels)
    monkeypatch.setattr(classifier.head, "forward", lambda features: features)
    torch.manual_seed(0)
    share = float(torch.distributions.Beta(0.3, 0.3).sample())
    torch.manual_seed(0)
    found = classifier._mixed_loss(batch, 0.3)
    mixed = share * images + (1 - share) * images.flip(0)
    torch.testing.assert_close(seen[0], mixed)
    logits = mixed[:, 0, 0, 0]
    expected = share * classifier.loss(logits, batch["target"])
    expected += (1 - share) * classifier.loss(logits, batch["target"].flip(0))
    torch.testing.assert_close(found, expected)
