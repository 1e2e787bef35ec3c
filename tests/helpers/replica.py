"""Small faithful copies of datasets, whose classes a tiny model can tell apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

CHEXPERT_FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)


def picture(rng: np.random.Generator, size: int, brightness: float) -> np.ndarray:
    """A picture (size, size) uint8 whose lower half is brighter by `brightness` gray values.

    Clouds make pictures differ at any scale, so that none is a near duplicate of another.
    """
    clouds = cv2.resize(rng.normal(0, 20, (8, 8)), (size, size), interpolation=cv2.INTER_CUBIC)
    pixels = clouds + rng.normal(90, 8, (size, size))
    pixels[size // 2 :] += brightness
    return pixels.clip(0, 255).astype(np.uint8)


def write_chest_xray(root: Path, *, train: int = 24, test: int = 8, size: int = 40) -> Path:
    """Kaggle's layout and file names: per class `train` and `test` images, two a patient.

    Pneumonia is brighter in its lower half, bacteria more so than virus.
    """
    rng = np.random.default_rng(0)
    for split, count, first in (("train", train, 1000), ("val", 2, 3000), ("test", test, 5000)):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                name, brightness = _name(label, first + number // 2, number)
                cv2.imwrite(str(folder / name), picture(rng, size, brightness))
    return root


def write_nih(
    root: Path, *, images: int = 60, size: int = 64, old: bool = False, lists: bool = True
) -> Path:
    """NIH's layout: twelve folders of PNG files, two images a patient, a fifth of them for test.

    Every third patient has pneumonia and every fifth an effusion too; each brightens the lower
    half. Images are written by several threads, 112,000 within a minute or two.

    Args:
        root: where to.
        images: how many.
        size: side in pixels.
        old: the table of 2017, with ages such as 058Y, in place of the one of 2020.
        lists: whether to write the official lists.
    """
    names, rows = [], []
    for number in range(images):
        patient, follow_up = number // 2 + 1, number % 2
        found = [f for every, f in ((3, "Pneumonia"), (5, "Effusion")) if patient % every == 0]
        name = f"{patient:08d}_{follow_up:03d}.png"
        age = 20 + patient % 70 if patient != 7 else 414
        names.append((name, len(found)))
        rows.append(
            f"{name},{'|'.join(found) or 'No Finding'},{follow_up},{patient},"
            f"{f'{age:03d}Y' if old else age},{'MF'[patient % 2]},{('PA', 'AP')[number % 2]},"
            "2682,2749,0.143,0.143"
        )
    for part in range(12):
        (root / f"images_{part + 1:03d}" / "images").mkdir(parents=True)

    def write(index: int) -> None:
        name, level = names[index]
        folder = root / f"images_{index * 12 // images + 1:03d}" / "images"
        pixels = picture(np.random.default_rng([0, index]), size, 60.0 * level)
        (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(images), chunksize=256))
    header = (
        f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,"
        f"Patient {'Gender' if old else 'Sex'},View Position,OriginalImage[Width,Height],"
        "OriginalImagePixelSpacing[x,y]"
    )
    table = "Data_Entry_2017.csv" if old else "Data_Entry_2017_v2020.csv"
    # The table of 2017 ends every line in a comma.
    end = ",\n" if old else "\n"
    (root / table).write_text("".join(line + end for line in (header, *rows)))
    if lists:
        test = {name for name, _ in names if int(name[:8]) % 5 == 4}
        _write_lines(root / "train_val_list.txt", (n for n, _ in names if n not in test))
        _write_lines(root / "test_list.txt", (n for n, _ in names if n in test))
    return root


def write_chexpert(
    root: Path, *, patients: int = 24, test: bool = False, small: bool = True, size: int = 40
) -> Path:
    """Stanford's layout below `root`: a frontal and a lateral view of every patient.

    Edema is present, absent, uncertain or not mentioned in turn; it brightens the lower half.
    """
    rng = np.random.default_rng(0)
    name = "CheXpert-v1.0-small" if small else "CheXpert-v1.0"
    parts = [("train", patients, 1), ("valid", 8, 64541), ("test", 8, 64741)]
    for split, count, first in parts if test else parts[:2]:
        rows = []
        for number in range(count):
            edema = ("1.0", "0.0", "-1.0", "")[number % 4] if split == "train" else "10"[number % 2]
            study = f"{split}/patient{first + number:05d}/study1"
            (root / name / study).mkdir(parents=True)
            for view in ("view1_frontal.jpg", "view2_lateral.jpg"):
                brightness = 90.0 if edema in ("1.0", "1") else 0.0
                path = root / name / study / view
                cv2.imwrite(str(path), picture(rng, size, brightness))
                frontal = "frontal" in view
                findings = dict.fromkeys(CHEXPERT_FINDINGS, "") | {
                    "Edema": edema,
                    "Cardiomegaly": "1.0" if number % 3 == 0 else "0.0",
                }
                rows.append(
                    {
                        "Path": f"{study}/{view}" if split == "test" else f"{name}/{study}/{view}",
                        "Sex": ("Male", "Female")[number % 2],
                        "Age": 30 + number,
                        "Frontal/Lateral": "Frontal" if frontal else "Lateral",
                        "AP/PA": "AP" if frontal else "",
                        **findings,
                    }
                )
        pd.DataFrame(rows).to_csv(root / name / f"{split}.csv", index=False)
    return root / name


def write_dicom(path: Path, pixels: np.ndarray, elements: Mapping[str, str] | None = None) -> None:
    """A plain DICOM file of (H, W) uint8 pixels; `elements` add to or replace its header's."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation as DigitalXRay
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRay
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    for keyword, value in (elements or {}).items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_rsna(root: Path, *, images: int = 30, size: int = 64, mapping: bool = False) -> Path:
    """The challenge's layout: a third normal, a third other, a third with one or two boxes.

    Args:
        root: where to.
        images: how many.
        size: side in pixels.
        mapping: whether to write RSNA's table of NIH's names, two images a patient.
    """
    rng = np.random.default_rng(0)
    kinds = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
    labels, details, mapped = [], [], []
    for number in range(images):
        name = f"{number:08x}-45c0-4bb1-9d6a-a3e4a1c2c9b1"
        kind = kinds[number % 3]
        boxes = [(4, 30, 20, 24), (40, 34, 16, 20)][: 1 + number % 2] if kind == kinds[2] else []
        pixels = picture(rng, size, 0.0)
        for x, y, width, height in boxes:
            pixels[y : y + height, x : x + width] = 230
        write_dicom(root / "stage_2_train_images" / f"{name}.dcm", pixels)
        cells = [",".join(f"{value:.1f}" for value in box) for box in boxes] or [",,,"]
        labels += [f"{name},{cell},{int(bool(boxes))}" for cell in cells]
        details += [f"{name},{kind}"] * len(cells)
        nih = f"{number // 2 + 1:08d}_{number % 2:03d}.png"
        mapped.append({"subset_img_id": name, "img_id": nih})
    _write_lines(root / "stage_2_train_labels.csv", ["patientId,x,y,width,height,Target", *labels])
    _write_lines(root / "stage_2_detailed_class_info.csv", ["patientId,class", *details])
    if mapping:
        file = root / "pneumonia-challenge-dataset-mappings_2018.json"
        file.write_text(json.dumps(mapped))
    return root


def write_medmnist(folder: Path, subset: str = "pneumoniamnist", *, pixels: int = 28) -> Path:
    """An archive of MedMNIST with 20 training, 8 validation and 10 test images."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 20), ("val", 8), ("test", 10)):
        if subset == "pneumoniamnist":
            labels = (np.arange(count) % 2)[:, None].astype(np.uint8)
        else:
            labels = (np.arange(count)[:, None] % np.arange(2, 16) == 0).astype(np.uint8)
        arrays[f"{split}_images"] = np.stack([picture(rng, pixels, 90.0 * y[0]) for y in labels])
        arrays[f"{split}_labels"] = labels
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{subset}{'' if pixels == 28 else f'_{pixels}'}.npz"
    np.savez_compressed(file, **arrays)
    return file


def write_image_folder(
    root: Path,
    *,
    classes: Iterable[str] = ("normal", "sick"),
    splits: Iterable[str] = ("",),
    images: int = 12,
    size: int = 40,
) -> Path:
    """`root/<split>/<class>/p<number>_<image>.png`, two images a patient."""
    rng = np.random.default_rng(0)
    for offset, split in enumerate(splits):
        for level, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(images):
                patient = 1000 * offset + 100 * level + number // 2
                file = folder / f"p{patient:04d}_{number % 2}.png"
                cv2.imwrite(str(file), picture(rng, size, 90.0 * level))
    return root


def write_dicom_folder(
    root: Path, *, classes: Iterable[str] = ("normal", "sick"), images: int = 8, size: int = 40
) -> Path:
    """`root/<class>/<number>.dcm`, two images a patient, with ids that begin with zeros."""
    rng = np.random.default_rng(0)
    for level, name in enumerate(classes):
        for number in range(images):
            elements = {
                "PatientID": f"00{level}{number // 2:02d}",
                "PatientName": "Doe^Jane",
                "PatientSex": "MF"[number % 2],
                "PatientAge": f"{40 + number:03d}Y",
                "ViewPosition": ("PA", "AP")[number % 2],
            }
            pixels = picture(rng, size, 90.0 * level)
            write_dicom(root / name / f"{number:03d}.dcm", pixels, elements)
    return root


def write_csv(folder: Path, *, images: int = 24, size: int = 40) -> Path:
    """`table.csv` beside `images/`: path, label, patient, sex, age, site; two images a patient."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = ["path,label,patient,sex,age,site"]
    for number in range(images):
        patient = number // 2
        sick = patient % 2
        cv2.imwrite(str(folder / f"images/{number:03d}.png"), picture(rng, size, 90.0 * sick))
        rows.append(
            f"images/{number:03d}.png,{('normal', 'sick')[sick]},{patient:04d},"
            f"{'MF'[patient % 3 % 2]},{40 + patient},{'ABC'[patient % 3]}"
        )
    _write_lines(folder / "table.csv", rows)
    return folder / "table.csv"


def _name(label: str, patient: int, number: int) -> tuple[str, float]:
    if label == "NORMAL":
        return f"IM-{patient:04d}-000{number % 2 + 1}.jpeg", 0.0
    cause = "bacteria" if patient % 2 else "virus"
    return f"person{patient}_{cause}_{number}.jpeg", 90.0 if cause == "bacteria" else 60.0


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))
