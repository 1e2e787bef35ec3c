"""What the audit finds of planted leaks and shortcuts, and how often it cries wolf.

    python scripts/measure_audit.py leaks data=chest_xray
    python scripts/measure_audit.py shortcuts --seeds 10

`leaks` copies 400 training images under other names, changed as files are changed on their way,
and counts the copies that are found and the other pairs that are reported. `shortcuts` plants a
corner marker into phantoms and shows the statistic of the alarm, the lower end of the interval of
the border's AUROC, with and without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from cxrlab.config.datasets import DataConfig
from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import Config
from cxrlab.config.validate import validate
from cxrlab.data.audit.run import audit
from cxrlab.data.duplicates import find_duplicates
from cxrlab.data.images import decode
from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest

Image = NDArray[np.uint8]

PLANTED = 400
STRENGTHS = (0.0, 0.95, 0.75, 0.5, 0.25)


def _jpeg(image: Image, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpeg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].data)


def _resized(image: Image, scale: float) -> bytes:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return _jpeg(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), 90)


def _gamma(image: Image, exponent: float) -> bytes:
    return _jpeg((255 * (image / 255.0) ** exponent).astype(np.uint8), 90)


def _cropped(image: Image, share: float) -> bytes:
    rim = [round(side * share) for side in image.shape]
    return _jpeg(image[rim[0] : image.shape[0] - rim[0], rim[1] : image.shape[1] - rim[1]], 90)


CHANGES: dict[str, Callable[[Image], bytes]] = {
    "JPEG 50": lambda image: _jpeg(image, 50),
    "JPEG 75": lambda image: _jpeg(image, 75),
    "JPEG 95": lambda image: _jpeg(image, 95),
    "half the side": lambda image: _resized(image, 0.5),
    "three quarters": lambda image: _resized(image, 0.75),
    "one and a half": lambda image: _resized(image, 1.5),
    "mirrored": lambda image: _jpeg(image[:, ::-1], 90),
    "gamma 0.7": lambda image: _gamma(image, 0.7),
    "gamma 1.4": lambda image: _gamma(image, 1.4),
    "1 % off each side": lambda image: _cropped(image, 0.01),
    "2 % off each side": lambda image: _cropped(image, 0.02),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["leaks", "shortcuts"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "overrides", nargs="*", help="of the configuration, such as data=chest_xray"
    )
    chosen = parser.parse_args()
    if chosen.what == "leaks":
        measure_leaks(configured(*chosen.overrides))
    else:
        measure_shortcuts(chosen.seeds, chosen.overrides)


def configured(*overrides: str) -> DataConfig:
    """The typed section `data`."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("train", list(overrides)), Config).data


def measure_leaks(config: DataConfig) -> None:
    """Print the share of planted copies that are found, change by change."""
    data = prepare(load_manifest(config), config)
    known = len(data.rows)
    print(f"as it is: {known} images, pairs {data.duplicates['kind'].value_counts().to_dict()}")
    chosen = np.random.default_rng(0).choice(known, min(PLANTED, known), replace=False)
    for name, change in CHANGES.items():
        thumbs = np.stack([_thumb_of_copy(data, config, row, change) for row in chosen])
        digests = [*data.facts["digest"], *(f"{name} {row}" for row in chosen)]
        everything = np.concatenate([data.thumbs[data.rows], thumbs])
        found = find_duplicates(digests, everything, np.arange(len(everything)))
        planted = found[(found["a"] < known) & (found["b"] >= known)]
        # Of identical files the first stands for all.
        original = data.facts["digest"].to_numpy()[chosen[planted["b"].to_numpy() - known]]
        right = data.facts["digest"].to_numpy()[planted["a"].to_numpy()] == original
        hits = planted["b"][right].nunique()
        print(f"{name:20} {hits / len(chosen):7.1%} found, {int((~right).sum())} other pairs")


def _thumb_of_copy(
    data: PreparedData, config: DataConfig, row: int, change: Callable[[Image], bytes]
) -> Image:
    file = data.manifest.root / data.manifest.table["path"].iloc[row]
    image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    return decode(change(np.asarray(image, np.uint8)), config.image_size, config.preprocess).thumb


def measure_shortcuts(seeds: int, overrides: list[str]) -> None:
    """Print the alarm's statistic for each strength of the marker, and how well it tells them."""
    base = configured("data.images=800", "data.image_size=96", *overrides)
    clean: list[float] = []
    for strength in STRENGTHS:
        lows, alarms = [], 0
        for seed in range(seeds):
            changed = {"shortcut": strength, "phantom_seed": seed}
            config = base.model_copy(update=changed)
            found = audit(prepare(load_manifest(config), config))
            border = next(f for f in found.findings if f.check == "shortcut_border")
            lows.append(border.items[0]["low"])
            alarms += border.severity == "warning"
        clean = clean or lows
        area = roc_auc_score([0] * len(clean) + [1] * len(lows), clean + lows)
        print(
            f"strength {strength:.2f}: {min(lows):.2f} to {max(lows):.2f}, alarm in {alarms} of "
            f"{seeds} seeds, AUROC against clean {area:.3f}"
        )


if __name__ == "__main__":
    main()
