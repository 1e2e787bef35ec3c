"""The typed configuration of every command but `train`, whose parts they share."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from cxrlab.config.datasets import DataConfig
from cxrlab.config.schema import AttributionConfig, MethodName, Samples, TrackingConfig
from cxrlab.config.section import Positive, Section


def _run_names(value: object) -> tuple[str, ...]:
    named = list(value) if isinstance(value, list | tuple) else [value]
    if any(isinstance(name, float) for name in named):
        raise ValueError("a run id was read as a number; quote it: '[\"12e4\",latest]'")
    names = tuple(str(name) for name in named if name not in (None, ""))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is named twice; name each run once")
    return names


def _any(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("names no run; give its id, a prefix of one, latest or its folder")
    return names


RunNames = Annotated[tuple[str, ...], BeforeValidator(_run_names)]
Runs = Annotated[RunNames, AfterValidator(_any)]
"""One run or several."""


class AuditConfig(Section):
    """What is wrong with a dataset and its split."""

    output: str | None = Field(description="JSON file, its page beside it; null: run folder")
    data: DataConfig
    tracking: TrackingConfig


class UiConfig(Section):
    """The MLflow UI on the store that training writes to."""

    host: str = Field(min_length=1, description="address to listen on")
    port: int = Field(ge=1, le=65535, description="port to listen on")
    tracking: TrackingConfig


class SyncConfig(Section):
    """Runs that a tracking server missed something of."""

    run: str = Field(min_length=1, description="all, the run's folder, its id or a prefix of it")
    folder: str = Field(min_length=1, description="below it lie the runs that all and ids mean")
    tracking: TrackingConfig


class DiskConfig(Section):
    """What runs and caches take on the disk, and what of it is to go."""

    outputs: str = Field(min_length=1, description="folder of runs and sweeps")
    cache: str | None = Field(description="folder of caches; null: CXRLAB_CACHE or the user's")
    clean: Literal["caches", "checkpoints", "runs", "sweeps", "orphans"] | None = Field(
        description="what to delete; null: only show"
    )
    older_than: str | None = Field(description="least time since the last change: 12h, 30d, 4w")
    runs: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        description="only these: ids, folders or names of sweeps"
    )
    keep: Literal["best"] | None = Field(description="clean=checkpoints: which stay")
    yes: bool = Field(description="delete what is listed")
    tracking: TrackingConfig

    @field_validator("older_than", mode="before")
    @classmethod
    def _an_age(cls, value: object) -> object:
        if value is not None and not re.fullmatch(r"[0-9]{1,6}[hdw]", str(value)):
            raise ValueError(f"{value} is no age; give a whole number and h, d or w, such as 30d")
        return value

    @property
    def age(self) -> float:
        """Least time since the last change, in seconds."""
        if self.older_than is None:
            return 0.0
        return (
            int(self.older_than[:-1])
            * {"h": 3600.0, "d": 86400.0, "w": 604800.0}[self.older_than[-1]]
        )


class PredictConfig(Section):
    """From image files to a table of probabilities and decisions."""

    run: Runs = Field(description="run id, prefix, latest or the run's folder; several: averaged")
    input: str = Field(description="image file, folder, glob, or CSV file with a column path")
    output: str | None = Field(
        description="CSV file, which is continued if it is there; null: a new one in the run folder"
    )
    gate: bool = Field(description="no decision on images unlike the training images")
    heatmaps: bool = Field(description="draw the evidence, in a folder beside the table")
    method: MethodName = Field(description="how heat maps are made")
    tracking: TrackingConfig

    @field_validator("method")
    @classmethod
    def _of_one_run(cls, value: MethodName, info: ValidationInfo) -> MethodName:
        several = len(info.data.get("run", ())) > 1
        if several and info.data.get("heatmaps") and value.startswith("gradcam"):
            raise ValueError(
                "several runs have no last layer together; take integrated_gradients, or each alone"
            )
        return value

    @field_validator("input", mode="before")
    @classmethod
    def _named(cls, value: str | None) -> str:
        if not value:
            raise ValueError(
                "names no images; give input=PATH of a file, a folder, a glob or a CSV list"
            )
        return value


class _OnDataset(Section):
    """What a finished run needs to be held against a dataset."""

    seen: Literal["drop", "keep"] = Field(description="images that the run knows already")
    labels: dict[str, str | tuple[str, ...]] | None = Field(
        description="for each class of the model, what stands for it; null: the same name"
    )
    batch_size: Positive = Field(description="images a forward pass")
    bootstrap: Samples = Field(description="draws of patients for the 95 % intervals; 0: none")
    tracking: TrackingConfig


class EvaluateConfig(_OnDataset):
    """The numbers of a finished run, or of another dataset."""

    run: Runs = Field(description="run id, prefix, latest or the run's folder; several: averaged")
    data: DataConfig | None = Field(description="dataset to score; null: the run's predictions")
    split: Literal["train", "val", "test"] | None = Field(
        description="images of this split of the dataset; null: all"
    )


class ExplainConfig(_OnDataset):
    """Attribution maps of a finished run, and their quality."""

    run: str = Field(min_length=1, description="run id, prefix, latest or the run's folder")
    data: DataConfig | None = Field(description="dataset to explain; null: the run's test images")
    split: Literal["train", "val", "test"] | None = Field(
        description="images of this split; null: of the run's own data test, else all"
    )
    methods: tuple[MethodName, ...] = Field(min_length=1, description="ways to attribute")
    cases: Annotated[int, Field(ge=1)] | Literal["all"] | tuple[int | str, ...] = Field(
        union_mode="left_to_right",
        description="how many images, all, or a list of paths and of rows of predictions.csv",
    )
    checked_cases: int = Field(ge=0, description="cases of the slow checks; 0: none are made")
    curve_steps: int = Field(ge=4, le=1024, description="steps of deletion and insertion")
    perturbations: Positive = Field(description="sensitivity, infidelity: changes of an image")
    radius: float = Field(gt=0, le=1, description="sensitivity: greatest change of a pixel")
    sheet_cases: int = Field(ge=0, description="most cases that are drawn")
    explanation: AttributionConfig

    @field_validator("methods", mode="before")
    @classmethod
    def _each_once(cls, value: object) -> tuple[object, ...]:
        named = tuple(value) if isinstance(value, list | tuple) else (value,)
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice; name each method once")
        return named

    @field_validator("cases", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        if isinstance(value, list) and not value:
            raise ValueError("names no case; give a number, all, or a list of rows or paths")
        if isinstance(value, str) and value != "all":
            return [value]
        return value


class DemoConfig(Section):
    """A local page that shows what a run makes of an image."""

    run: str = Field(min_length=1, description="run id, prefix, latest or the run's folder")
    host: str = Field(min_length=1, description="address to listen on")
    port: int = Field(ge=1, le=65535, description="port to listen on")
    method: MethodName = Field(description="how the heat map is made")
    max_megabytes: Positive = Field(description="largest file that is taken")
    uploads: Positive = Field(description="files in memory at once")
    upload_seconds: float = Field(gt=0, description="longest time for a file to arrive")
    tracking: TrackingConfig


class CompareConfig(Section):
    """Finished runs on the same images."""

    runs: RunNames = Field(description="run ids, prefixes, latest or folders; at least two")
    split: Literal["val", "test"] = Field(description="which predictions to compare")
    bootstrap: Samples = Field(description="draws of patients for intervals and p; 0: none")
    tracking: TrackingConfig

    @field_validator("runs")
    @classmethod
    def _several(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) < 2:
            raise ValueError("a comparison needs two runs at least; give runs=[RUN,RUN]")
        return value


class ExportConfig(Section):
    """A run as files that serve without this package."""

    run: str = Field(min_length=1, description="run id, prefix, latest or the run's folder")
    format: tuple[Literal["onnx", "torchscript", "pt2"], ...] = Field(
        min_length=1, description="which files to write"
    )
    output: str | None = Field(description="folder of the files; null: the run folder")
    images: int = Field(ge=100, description="validation images that a file is checked on, at most")
    tolerance: float = Field(gt=0, le=0.01, description="greatest difference of a probability")
    int8: bool = Field(description="beside model.onnx one in eight bits")
    int8_images: int = Field(ge=16, description="training images that its ranges are measured on")
    int8_loss: float = Field(ge=0, le=1, description="greatest loss of ROC-AUC on validation")
    tracking: TrackingConfig

    @field_validator("format", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) else (value,)

    @field_validator("int8")
    @classmethod
    def _has_a_file(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "onnx" not in info.data.get("format", ("onnx",)):
            raise ValueError("only ONNX has eight bits; take format=onnx, or int8=false")
        return value
