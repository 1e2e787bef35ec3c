"""The typed schema of every key in `conf/`: types, ranges and what each key means.

Values live in the YAML files alone: no field here has a default, so a key has one home.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from cxrlab.config.datasets import DataConfig
from cxrlab.config.rule import parse_rule
from cxrlab.config.section import Fraction, NonNegative, OpenFraction, Positive, Section, Side


def _enough_samples(value: int) -> int:
    if 0 < value < 200:
        raise ValueError(f"{value} samples have no 2.5 % tail worth telling; 0 or >= 200")
    return value


Samples = Annotated[int, Field(ge=0, le=100_000), AfterValidator(_enough_samples)]
Shift = Literal[
    "lighter", "darker", "flatter", "harder", "closer", "farther", "blurred", "coarse", "framed",
    "compressed",
]  # fmt: skip


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
    test_windows: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(
        min_length=1, description="windows looked at when not training; 1: the whole image"
    )
    test_mirror: bool = Field(description="look at each window's mirror image too")


class LossConfig(Section):
    """Cross-entropy and its variants."""

    class_weights: Literal["none", "balanced"] = Field(description="weigh rare classes up")
    label_smoothing: float = Field(ge=0, lt=0.5, description="share moved to the other classes")
    focal_gamma: NonNegative = Field(description="focal loss exponent; 0: plain cross-entropy")
    mixup: NonNegative = Field(description="alpha of the Beta distribution of mixup; 0: off")


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
    monitor: Literal["val/auroc", "val/loss", "val_shifted/auroc", "val_shifted/loss"] = Field(
        description="metric of the epoch whose weights are kept, and of early stopping"
    )
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


class TuneConfig(Section):
    """What is found by trying, before training."""

    what: tuple[Literal["batch_size", "lr"], ...] = Field(
        description="find data.batch_size, optimizer.lr, or both, in this order; []: neither"
    )
    min_lr: float = Field(gt=0, le=10, description="range test: first learning rate of the head")
    max_lr: float = Field(gt=0, le=10, description="range test: last learning rate")
    steps: int = Field(ge=30, le=10_000, description="range test: steps from first to last rate")
    max_batch_size: Positive = Field(description="largest batch that is tried, images")

    @field_validator("what")
    @classmethod
    def _in_order(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))  # the rate that suits a batch, so the batch comes first

    @field_validator("max_lr")
    @classmethod
    def _above(cls, value: float, info: ValidationInfo) -> float:
        if value < 100 * info.data.get("min_lr", 0):
            raise ValueError(
                f"{value:g}: a range test needs two decades; 100 * tune.min_lr or more"
            )
        return value


class EvaluationConfig(Section):
    """What is computed of the predictions."""

    batch_size: Positive = Field(description="images a forward pass")
    test: bool = Field(description="read test once, at the end")
    calibration: Literal["temperature", "isotonic"] = Field(
        description="how validation turns scores into probabilities"
    )
    bootstrap: Samples = Field(description="draws of patients for the 95 % intervals; 0: none")
    review: Fraction = Field(description="share of validation whose decision is one to review")
    refuse: Fraction | None = Field(
        description="share of validation that the gate for other images may refuse; null: no gate"
    )
    shifts: tuple[Shift, ...] = Field(
        description="changes of the validation images that help to choose the operating point"
    )
    shifts_per_image: Positive | None = Field(
        description="how many of them each image goes through, in turns; null: all"
    )


MethodName = Literal[
    "integrated_gradients",
    "integrated_gradients_blur",
    "integrated_gradients_mean",
    "integrated_gradients_average",
    "smoothgrad_ig",
    "input_x_gradient",
    "gradcam",
    "gradcam++",
    "occlusion",
    "rise",
]


class AttributionConfig(Section):
    """What the methods of attribution can be asked for."""

    steps: int = Field(ge=2, le=4096, description="intervals of the path at first")
    max_steps: int = Field(ge=2, le=4096, description="most intervals of an image")
    tolerance: float = Field(gt=0, le=1, description="completeness error that ends refinement")
    batch_size: Positive = Field(description="points a forward and backward pass")
    noise: float = Field(gt=0, le=1, description="smoothgrad_ig: SD, share of the image's range")
    noisy_copies: Positive = Field(description="smoothgrad_ig: copies of an image")
    window: OpenFraction = Field(description="occlusion: side of the square, share of the image's")
    stride: OpenFraction = Field(description="occlusion: step of the square, share of the side")
    masks: Positive = Field(description="rise: random masks")
    grid: int = Field(ge=2, le=64, description="rise: cells of a mask along a side")


class ExplanationConfig(AttributionConfig):
    """Attribution maps: a panel in training and galleries at the end."""

    method: MethodName | Literal["none"] = Field(description="how to attribute")
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
    grace: NonNegative = Field(description="seconds that a run's end waits for a silent server")


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
    registered: str | None = Field(  # `register` is a method of every pydantic model
        alias="register",
        max_length=200,
        pattern=r"^[\w .()+-]+$",
        description="registered model whose next version the run becomes",
    )
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
    tune: TuneConfig
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
        return self.model_dump(mode="json", by_alias=True)
