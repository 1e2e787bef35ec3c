"""The typed schema of every key in `conf/`: types, ranges and what each key means.

Values live in the YAML files alone: no field here has a default, so a key has one home.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from cxrlab.config.datasets import DataConfig
from cxrlab.config.rule import parse_rule
from cxrlab.config.section import Fraction, NonNegative, OpenFraction, Positive, Section, Side


def _enough_samples(value: int) -> int:
    if 0 < value < 200:
        raise ValueError(f"{value} samples have no 2.5 % tail worth telling; 0 or >= 200")
    return value


Samples = Annotated[int, Field(ge=0, le=100_000), AfterValidator(_enough_samples)]


class AugmentationConfig(Section):
    """Random changes of a training batch, drawn anew for each image."""

    name: str = Field(description="what the choice is called in tables")
    crop_scale: tuple[float, float] | None = Field(
        description="random resized crop: range of the area kept; null: off"
    )
    crop_ratio: tuple[float, float] = Field(description="range of the crop's width / height")
    flip: Fraction = Field(description="probability of a left-right flip")
    rotation: float = Field(ge=0, le=180, description="greatest angle, degrees")
    zoom: float = Field(ge=0, lt=1, description="greatest relative change of size")
    shift: float = Field(ge=0, lt=1, description="greatest shift, share of the side")
    shear: float = Field(ge=0, le=45, description="greatest shear, degrees")
    brightness: float = Field(ge=0, le=1, description="greatest change added to [0, 1] values")
    contrast: float = Field(ge=0, lt=1, description="greatest relative change about the mean")
    gamma: float = Field(ge=0, le=2, description="greatest absolute natural log of the exponent")
    blur: float = Field(ge=0, le=5, description="greatest sigma of a Gaussian, pixels")
    noise: float = Field(ge=0, le=0.5, description="greatest SD of added Gaussian noise")

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError(f"{list(value)} is not a range (0 < low <= high)")
        return value

    @field_validator("crop_scale")
    @classmethod
    def _area(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[1] > 1:
            raise ValueError(f"{list(value)} keeps more than the whole image (high <= 1)")
        return value


class ModelConfig(Section):
    """Backbone and head."""

    backbone: str = Field(min_length=1, description="any timm model name")
    weights: str = Field(min_length=1, description="auto, imagenet, phantom, none or a file")
    hidden: int | None = Field(ge=1, description="width of the dense layer; null: none")
    dropout: float = Field(ge=0, lt=1, description="dropout before the last layer")
    drop_path: float = Field(ge=0, lt=1, description="stochastic depth in the backbone")
    freeze_backbone: bool = Field(description="train the head alone, on features made once")
    feature_views: Positive = Field(
        description="views of a training image whose features a frozen backbone makes: 1: the "
        "image; the others are augmented"
    )
    freeze_stages: int = Field(ge=0, description="stages that stay fixed, counted from the stem")
    standardise: bool = Field(description="bring each image to one mean and spread first")


class LossConfig(Section):
    """Cross-entropy and its variants."""

    class_weights: Literal["none", "balanced"] = Field(description="weigh rare classes up")
    label_smoothing: float = Field(ge=0, lt=0.5, description="share moved to the other classes")
    focal_gamma: NonNegative = Field(description="focal loss exponent; 0: plain cross-entropy")


class OptimizerConfig(Section):
    """The rule that turns gradients into steps."""

    name: Literal["adam", "adamw", "sgd"] = Field(description="the rule")
    lr: float = Field(gt=0, le=10, description="learning rate of the head")
    backbone_lr_factor: float = Field(gt=0, le=10, description="backbone's rate / head's rate")
    weight_decay: NonNegative = Field(description="decay of weights; biases and norms have none")
    momentum: float = Field(ge=0, lt=1, description="momentum (sgd) or beta1 (adam, adamw)")


class SchedulerConfig(Section):
    """How the learning rate moves in training."""

    name: Literal["none", "cosine", "onecycle", "plateau"] = Field(description="the curve")
    warmup: Fraction = Field(description="share of all steps in which the rate rises")
    final_factor: Fraction = Field(description="last rate / highest rate (cosine, onecycle)")
    factor: OpenFraction = Field(description="plateau: cut of the rate")
    patience: int = Field(ge=0, description="plateau: epochs without gain before a cut")


class TrainerConfig(Section):
    """Where and how long to train: mostly Lightning's own Trainer arguments."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field(description="auto: a GPU where one is")
    devices: Positive = Field(description="processes on a machine, each with a GPU of its own")
    nodes: Positive = Field(description="machines; more than one needs trainer=slurm")
    cluster: Literal["slurm"] | None = Field(description="who starts the processes; null: cxrlab")
    sync_batchnorm: bool = Field(description="GPUs: normalise over all processes' images")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        description="auto: bf16-mixed where the hardware multiplies it, else 32-true"
    )
    channels_last: bool = Field(description="memory format of the convolutions")
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = Field(
        description="mode of torch.compile for the backbone; null: not compiled"
    )
    progressive: tuple[tuple[OpenFraction, Side], ...] = Field(
        description="training sizes: up to this share of all steps, this side in pixels"
    )
    max_epochs: Positive = Field(description="passes over the training images")
    gradient_clip: float | None = Field(gt=0, description="greatest norm of the gradient")
    accumulate: Positive = Field(description="batches a step of the optimizer")
    ema_decay: float | None = Field(gt=0, lt=1, description="decay of the weights' average")
    early_stopping: int | None = Field(ge=1, description="epochs without gain before the end")
    log_every_n_steps: Positive = Field(description="steps between two points of train/loss")
    limit_batches: float | int | None = Field(gt=0, description="part of each epoch, for debugging")
    overfit_batches: int = Field(ge=0, description="train on this many fixed batches; 0: off")
    profiler: Literal["simple", "advanced"] | None = Field(description="Lightning's profiler")
    progress_bar: bool = Field(description="draw a progress bar")
    deterministic: bool = Field(description="same seed, same machine, same numbers")

    @field_validator("progressive")
    @classmethod
    def _rising(cls, value: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
        shares = [share for share, _ in value]
        if shares != sorted(set(shares)):
            raise ValueError(f"{[list(pair) for pair in value]}: the shares must rise")
        return value


class EvaluationConfig(Section):
    """What is computed of the predictions."""

    batch_size: Positive = Field(description="images a forward pass")
    test: bool = Field(description="read test once, at the end")
    calibration: Literal["temperature", "isotonic"] = Field(
        description="how validation turns scores into probabilities"
    )
    bootstrap: Samples = Field(description="draws of patients for the 95 % intervals; 0: none")


class ExplanationConfig(Section):
    """Attribution maps: a panel in training and galleries at the end."""

    method: Literal["integrated_gradients", "none"] = Field(description="how to attribute")
    steps: int = Field(ge=2, le=4096, description="intervals of the path at first")
    max_steps: int = Field(ge=2, le=4096, description="most intervals of an image")
    tolerance: float = Field(gt=0, le=1, description="completeness error that ends refinement")
    batch_size: Positive = Field(description="points a forward and backward pass")
    panel_images: int = Field(ge=0, description="fixed validation images drawn in training")
    every_n_epochs: Positive = Field(description="epochs between two panels")
    gallery_images: int = Field(ge=0, description="cases of each kind in the gallery")


class TrackingConfig(Section):
    """Where runs are kept."""

    enabled: bool = Field(description="false: the run's folder only, no MLflow")
    uri: str | None = Field(description="MLflow store; null: MLFLOW_TRACKING_URI or mlruns/")
    experiment: str = Field(min_length=1, description="MLflow experiment")
    name: str | None = Field(description="run name; null: made of model, overrides and time")
    patient_ids: Literal["hashed", "plain"] = Field(description="how patients stand in tables")
    log_model: bool = Field(description="log the model itself, beside the checkpoints")


class SweepConfig(Section):
    """Many runs that differ in something, and what they are judged by."""

    kind: Literal["grid", "seeds", "folds", "optuna"] = Field(description="what makes the trials")
    name: str = Field(
        pattern=r"^[\w][\w.-]*$", description="folder; the same name again goes on with a sweep"
    )
    objective: tuple[str, ...] = Field(description="metric that decides; two: NSGA-II")
    direction: tuple[Literal["maximize", "minimize"], ...] = Field(description="of each objective")
    seeds: int = Field(ge=2, le=1000, description="seeds of sweep=seeds")
    trials: Positive = Field(description="trials of sweep=optuna, all told")
    space: dict[str, str] = Field(description="key: where sweep=optuna searches, in Hydra's syntax")
    prune: bool = Field(description="sweep=optuna: end a trial that is worse than the median")

    @field_validator("objective", "direction", mode="before")
    @classmethod
    def _one_or_two(cls, value: object) -> object:
        values = list(value) if isinstance(value, list | tuple) else [value]
        if not 1 <= len(values) <= 2:
            raise ValueError(f"{len(values)} are given; one or two can be weighed")
        return tuple(values)


class Config(Section):
    """One training run, whole."""

    seed: int = Field(ge=0, lt=2**32, description="seed of weights, order, augmentation, dropout")
    threshold: str | float = Field(description="decision rule chosen on validation, or a number")
    resume: str | None = Field(description="run to continue: id, prefix, latest or its folder")
    resume_changed: bool = Field(description="continue although the data changed since")
    audit: Literal["stop", "warn"] = Field(description="fatal finding in the data: stop or go on")
    data: DataConfig
    augmentation: AugmentationConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    explanation: ExplanationConfig
    tracking: TrackingConfig
    sweep: SweepConfig

    @field_validator("threshold")
    @classmethod
    def _known_rule(cls, value: str | float) -> str | float:
        parse_rule(value)
        return value

    def plain(self) -> dict[str, Any]:
        """The configuration as dicts, lists, strings and numbers (for YAML and checkpoints)."""
        return self.model_dump(mode="json")


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


class PredictConfig(Section):
    """From image files to a table of probabilities and decisions."""

    run: str = Field(min_length=1, description="run id, prefix, latest or the run's folder")
    input: str = Field(description="image file, folder or glob")
    output: str | None = Field(description="CSV file; null: predictions.csv in the run folder")
    tracking: TrackingConfig

    @field_validator("input", mode="before")
    @classmethod
    def _named(cls, value: str | None) -> str:
        if not value:
            raise ValueError("names no images; give input=PATH of a file, a folder or a glob")
        return value


class EvaluateConfig(Section):
    """The numbers of a finished run, or of another dataset."""

    run: str = Field(min_length=1, description="run id, prefix, latest or the run's folder")
    data: DataConfig | None = Field(description="dataset to score; null: the run's predictions")
    split: Literal["train", "val", "test"] | None = Field(
        description="images of this split of the dataset; null: all"
    )
    seen: Literal["drop", "keep"] = Field(description="images that the run knows already")
    labels: dict[str, str | tuple[str, ...]] | None = Field(
        description="for each class of the model, what stands for it; null: the same name"
    )
    batch_size: Positive = Field(description="images a forward pass")
    bootstrap: Samples = Field(description="draws of patients for the 95 % intervals; 0: none")
    tracking: TrackingConfig


class CompareConfig(Section):
    """Finished runs on the same images."""

    runs: tuple[str, ...] = Field(description="run ids, prefixes, latest or folders; at least two")
    split: Literal["val", "test"] = Field(description="which predictions to compare")
    bootstrap: Samples = Field(description="draws of patients for intervals and p; 0: none")
    tracking: TrackingConfig

    @field_validator("runs", mode="before")
    @classmethod
    def _several(cls, value: object) -> tuple[str, ...]:
        named = list(value) if isinstance(value, list | tuple) else [value]
        if any(isinstance(name, float) for name in named):
            raise ValueError("a run id was read as a number; quote it: 'runs=[\"12e4\",latest]'")
        names = tuple(str(name) for name in named if name is not None)
        if len(names) < 2:
            raise ValueError("a comparison needs two runs at least; give runs=[RUN,RUN]")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice; name each run once")
        return names
