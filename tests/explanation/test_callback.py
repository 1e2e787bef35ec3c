from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from cxrlab.explanation import figures
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.callback import ExplanationPanel
from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
from cxrlab.model.head import Head
from cxrlab.model.normalise import Normalise
from cxrlab.task import Task


class TinyBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise((0.5,), (0.5,), standardise=False)
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.3), nn.Flatten()
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.normalise(images))


class TinyModule(pl.LightningModule):
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.backbone = TinyBackbone()
        self.head = Head(4 * 14 * 14, outputs, hidden=None, dropout=0.3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        assert all(module.training for module in self.modules())
        logits = self(batch[0])
        target = batch[1].reshape(-1, *[1] * (logits.ndim - 1)).expand_as(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, target)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/constant", 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class NoisyMethod(IntegratedGradients):
    """Draws random numbers, as SmoothGrad does."""

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        torch.rand(5)
        np.random.rand(5)  # noqa: NPY002 - the global stream is what must be left alone
        return super().__call__(network, images, targets)


class Record:
    def __init__(self) -> None:
        self.images: list[tuple[tuple[int, ...], str, int]] = []
        self.metrics: list[tuple[dict[str, float], int]] = []

    def image(self, array: np.ndarray, key: str, step: int) -> None:
        self.images.append((array.shape, key, step))

    def metric(self, values: dict[str, float], step: int) -> None:
        self.metrics.append((values, step))


def panel_of(output: Path, record: Record, every_n_epochs: int) -> ExplanationPanel:
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    rows = pd.DataFrame({"path": ["val/a (1).png", "val/b.png"], "target": [0, 1]})
    return ExplanationPanel(
        NoisyMethod(steps=2, max_steps=2),
        images,
        rows,
        task=Task.exclusive(("NORMAL", "PNEUMONIA")),
        explained=np.array([1, 1]),
        every_n_epochs=every_n_epochs,
        output=output,
        log_image=record.image,
        log_metrics=record.metric,
    )


def fit(
    callbacks: list[pl.Callback], epochs: int = 3, sanity: int = 0, outputs: int = 1
) -> TinyModule:
    pl.seed_everything(0, verbose=False)
    module = TinyModule(outputs)
    data = TensorDataset(torch.rand(8, 1, 16, 16), (torch.rand(8) > 0.5).float())
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        num_sanity_val_steps=sanity,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(data, 4, shuffle=True), DataLoader(data, 4))
    return module


@pytest.fixture
def record() -> Record:
    return Record()


def panels_in(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "explanations").iterdir())


def test_training_is_the_same_with_and_without(tmp_path: Path, record: Record):
    without = fit([])
    random_without = torch.rand(3)
    with_panel = fit([panel_of(tmp_path, record, 1)])
    random_with = torch.rand(3)
    for name, tensor in without.state_dict().items():
        assert torch.equal(tensor, with_panel.state_dict()[name]), name
    assert torch.equal(random_without, random_with)
    assert len(record.metrics) == 3


def test_draws_every_nth_and_the_last_epoch(tmp_path: Path, record: Record):
    fit([panel_of(tmp_path, record, 2)], epochs=3, sanity=1)
    assert panels_in(tmp_path) == ["panel_epoch_002.png", "panel_epoch_003.png"]


def test_draws_the_epoch_at_which_training_stopped_early(tmp_path: Path, record: Record):
    stop = EarlyStopping("val/constant", patience=1)
    fit([panel_of(tmp_path, record, 10), stop], epochs=9)
    assert panels_in(tmp_path) == ["panel_epoch_002.png"]


def test_logs_a_strip_an_image_and_the_time(tmp_path: Path, record: Record):
    fit([panel_of(tmp_path, record, 1)], epochs=1)
    assert record.images == [
        ((16, 48, 3), "panel/00_a__1_", 0),
        ((16, 48, 3), "panel/01_b", 0),
    ]
    values, step = record.metrics[0]
    assert step == 2
    assert values["explanation/panel_seconds"] > 0


def test_other_validations_draw_nothing(tmp_path: Path, record: Record):
    panel = panel_of(tmp_path, record, 1)
    trainer = pl.Trainer(
        accelerator="cpu", callbacks=[panel], logger=False, enable_progress_bar=False
    )
    data = TensorDataset(torch.rand(4, 1, 16, 16), torch.ones(4))
    trainer.validate(TinyModule(), DataLoader(data, 4), verbose=False)
    assert not (tmp_path / "explanations").exists()
    assert record.images == []


def test_a_finding_is_explained_beside_its_own_truth(
    tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
):
    asked: list[list[int]] = []
    drawn: list[str] = []

    class Asking(IntegratedGradients):
        def __call__(
            self, network: nn.Module, images: Tensor, targets: Tensor | None = None
        ) -> Attribution:
            assert targets is not None
            asked.append(targets.tolist())
            return super().__call__(network, images, targets)

    def keep(cases, *rest):
        drawn.extend(case.facts for case in cases)
        return draw(cases, *rest)

    draw = figures.draw_panel
    monkeypatch.setattr(figures, "draw_panel", keep)
    rows = pd.DataFrame(
        {
            "path": ["a.png", "b.png"],
            "target_Mass": [0.0, np.nan],
            "target_Hernia": [1.0, 0.0],
        }
    )
    panel = ExplanationPanel(
        Asking(steps=2, max_steps=2),
        np.random.default_rng(1).integers(0, 256, (2, 16, 16), dtype=np.uint8),
        rows,
        task=Task.multilabel(("Mass", "Hernia")),
        explained=np.array([1, 0]),
        every_n_epochs=1,
        output=tmp_path,
        log_image=record.image,
        log_metrics=record.metric,
    )
    fit([panel], epochs=1, outputs=2)
    assert asked == [[1, 0]]
    assert drawn[0].startswith("true present   logit ")
    assert "p(Hernia)" in drawn[0]
    assert drawn[1].startswith("true unknown   logit ")
    assert "p(Mass)" in drawn[1]
