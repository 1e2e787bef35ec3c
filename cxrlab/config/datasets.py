"""The typed schema of the group `data`: what every dataset has, and what each has of its own."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cxrlab.config.section import Fraction, OpenFraction, Positive, Section, Side


class Preprocess(Section):
    """From a decoded radiograph to the square that the model sees; kept with the model."""

    crop_borders: bool = Field(description="cut black borders off first")
    percentiles: tuple[float, float] | None = Field(
        description="stretch the gray values between these percentiles of each image; null: off"
    )
    resize: Literal["stretch", "letterbox"] = Field(
        description="to a square: change the aspect, or keep it and pad with black"
    )
    clahe: float | None = Field(
        gt=0, le=40, description="contrast limit of local histogram equalisation; null: off"
    )

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1] <= 100:
            raise ValueError(f"{list(value)} is no range of percentiles (0 <= low < high <= 100)")
        return value


class DataBase(Section):
    """What every dataset can be asked for."""

    name: str = Field(description="which source")
    image_size: Side = Field(description="side of the square input, pixels")
    preprocess: Preprocess
    batch_size: Positive = Field(description="images a training step")
    split: Literal["auto", "official", "file", "site"] = Field(
        description="auto: the dataset's own parts, and what is missing is cut"
    )
    val_fraction: OpenFraction = Field(description="share of the training images held out")
    test_fraction: OpenFraction = Field(description="share held out where no test set is official")
    split_file: str | None = Field(description="split=file: CSV of path or patient_id, and split")
    site: str | None = Field(description="split=site: the site whose images are the test set")
    site_column: str = Field(min_length=1, description="manifest column that names the site")
    split_seed: int = Field(ge=0, description="seed of the split, apart from the training seed")
    folds: int | None = Field(ge=2, description="patient-grouped K-fold in place of the hold-out")
    fold: int | None = Field(ge=0, description="which fold validates, 0..folds-1")
    limit: int | None = Field(ge=2, description="images a split, for a quick look")
    on_bad_image: Literal["skip", "error"] = Field(description="unreadable file: leave out or stop")
    cache: str | None = Field(description="folder of decoded images; null: CXRLAB_CACHE")

    @model_validator(mode="after")
    def _fold_within_folds(self) -> DataBase:
        if self.fold is not None and self.folds is None:
            raise ValueError("fold needs folds: add data.folds=5")
        if self.folds is not None and self.fold is None:
            raise ValueError("folds needs fold: add data.fold=0")
        if self.fold is not None and self.folds is not None and self.fold >= self.folds:
            raise ValueError(
                f"fold={self.fold} is outside 0..{self.folds - 1} (folds={self.folds})"
            )
        return self

    @model_validator(mode="after")
    def _split_has_what_it_needs(self) -> DataBase:
        if self.split == "file" and self.split_file is None:
            raise ValueError("split=file needs a table: add data.split_file=PATH")
        if self.split == "site" and self.site is None:
            raise ValueError("split=site needs the site to hold out: add data.site=NAME")
        if self.folds is not None and self.split in ("official", "file"):
            raise ValueError(f"split={self.split}: K-fold cuts its own validation; take split=auto")
        return self


class PhantomData(DataBase):
    """The built-in synthetic radiographs."""

    name: Literal["phantom"] = Field(description="which source")
    images: int = Field(ge=20, le=1_000_000, description="images in the whole set")
    prevalence: OpenFraction = Field(description="share of patients with an opacity")
    difficulty: Fraction = Field(description="0: every opacity is plain, 1: many barely visible")
    shortcut: Fraction = Field(description="0: no marker, 1: a corner marker tells the label")
    phantom_seed: int = Field(ge=0, description="seed of the patients")


class ChestXrayData(DataBase):
    """Kaggle's Chest X-Ray Images (Pneumonia)."""

    name: Literal["chest_xray"] = Field(description="which source")
    root: str | None = Field(description="folder that holds train/, val/ and test/")
    target: Literal["pneumonia", "pathogen"] = Field(description="two or three classes")
    download: bool = Field(description="fetch from Kaggle when the folder is missing")


class NihData(DataBase):
    """NIH ChestX-ray14."""

    name: Literal["nih_chestxray14"] = Field(description="which source")
    root: str | None = Field(description="folder that holds Data_Entry_2017*.csv")
    target: str = Field(min_length=1, description="all: 14 findings; or one: present or absent")
    view: Literal["all", "PA", "AP"] = Field(description="projection to keep")


class ChexpertData(DataBase):
    """Stanford CheXpert."""

    name: Literal["chexpert"] = Field(description="which source")
    root: str | None = Field(description="folder that holds train.csv and valid.csv")
    target: str = Field(
        min_length=1, description="all: 14 findings; competition: 5; or one: present or absent"
    )
    uncertain: Literal["unknown", "negative", "positive"] = Field(
        description="what the label -1 counts as"
    )
    view: Literal["frontal", "lateral", "all"] = Field(description="views to keep")


class RsnaData(DataBase):
    """RSNA Pneumonia Detection Challenge 2018."""

    name: Literal["rsna_pneumonia"] = Field(description="which source")
    root: str | None = Field(description="folder that holds stage_2_train_images/ and the CSVs")
    target: Literal["pneumonia", "detailed"] = Field(
        description="two classes; or normal, other abnormality and opacity apart"
    )


class MedMnistData(DataBase):
    """PneumoniaMNIST and ChestMNIST."""

    name: Literal["medmnist"] = Field(description="which source")
    subset: Literal["pneumoniamnist", "chestmnist"] = Field(description="which of the two")
    pixels: Literal[28, 64, 128, 224] = Field(description="side of the images in the archive")
    root: str | None = Field(description="folder of the .npz archives")
    download: bool = Field(description="fetch the archive when it is missing")


class ImageFolderData(DataBase):
    """Any folder with a folder a class, with or without train/, val/ and test/ above them."""

    name: Literal["image_folder"] = Field(description="which source")
    root: str | None = Field(min_length=1, description="the folder")
    classes: list[str] | None = Field(description="folders in the order of their class index")
    patient: str | None = Field(
        description="regular expression whose first group in the file name is the patient"
    )

    @field_validator("patient")
    @classmethod
    def _has_a_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from error
            if groups < 1:
                raise ValueError("needs a group, as in '^([^_]+)_'")
        return value


class CsvData(DataBase):
    """A table of the user's own."""

    name: Literal["csv"] = Field(description="which source")
    table: str | None = Field(min_length=1, description="the CSV file")
    root: str | None = Field(description="folder its paths are relative to; null: the table's own")
    path_column: str = Field(min_length=1, description="image files")
    label_columns: list[str] = Field(
        min_length=1, description="one: class names; several: findings as 1, 0 or empty"
    )
    classes: list[str] | None = Field(description="class names of one label column, in order")
    patient_column: str | None = Field(description="patients; null: every image its own")
    split_column: str | None = Field(description="train, val, test or empty; null: cut")
    mask_column: str | None = Field(description="lesion masks; null: none")
    report_columns: list[str] = Field(description="columns that results are reported by")


class DicomFolderData(DataBase):
    """A folder of DICOM files with a folder a class, patients read from the headers."""

    name: Literal["dicom_folder"] = Field(description="which source")
    root: str | None = Field(min_length=1, description="the folder")
    classes: list[str] | None = Field(description="folders in the order of their class index")


DataConfig = Annotated[
    PhantomData
    | ChestXrayData
    | NihData
    | ChexpertData
    | RsnaData
    | MedMnistData
    | ImageFolderData
    | CsvData
    | DicomFolderData,
    Field(discriminator="name"),
]
