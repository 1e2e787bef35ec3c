"""What of a training run is kept, under which names, and where."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

import cxrlab
from cxrlab.augmentation.augmenter import Augmenter
from cxrlab.augmentation.figures import draw_augmented
from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.data.audit.findings import Audit
from cxrlab.data.manifest import SPLITS
from cxrlab.data.prepare import PreparedData
from cxrlab.errors import UserError, warn
from cxrlab.explanation.selection import panel_indices
from cxrlab.files import write_atomically
from cxrlab.layout import (
    AUDIT_FILE,
    BEST,
    CHECKPOINTS,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EVALUATION,
    EXPLANATIONS,
    FIGURES,
    ID_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    OVERRIDES_FILE,
    PREDICTIONS,
    REPORT_FILE,
    VERSION_FILE,
)
from cxrlab.sweeps.tags import trial_tags
from cxrlab.tracking.find import OUTPUT_TAG
from cxrlab.tracking.ids import hash_patients
from cxrlab.tracking.params import cut, flatten
from cxrlab.tracking.provenance import environment_text, run_tags
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.store import Store, open_store
from cxrlab.tracking.views import NOTE_TAG
from cxrlab.training.session import Session

if TYPE_CHECKING:
    from cxrlab.data.datamodule import ImageDataModule
    from cxrlab.evaluation.evaluation import Evaluation
    from cxrlab.model.classifier import Classifier
    from cxrlab.serving.gate import Gate

_UPLOADED = (PREDICTIONS, EVALUATION, FIGURES, EXPLANATIONS, CHECKPOINTS, METRICS_FILE)
_USED = ("state_dict", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")
_SHEET = f"{FIGURES}/augmentation.png"
_AUGMENTED_IMAGES = 4
_NAME_LENGTH = 100  # the UI shows a name in one line


def open_configured_store(config: TrackingConfig, wait: float = 0) -> Store | None:
    """The store that the configuration names, after `wait` seconds at most; None without MLflow.

    Raises:
        UserError: it can't be used.
    """
    return open_store(config.uri, store_dir(), wait) if config.enabled else None


def with_hashed_patients(
    data: PreparedData, config: TrackingConfig, store: Store | None
) -> PreparedData:
    """The data with patient ids that nobody outside can read, unless they are to be plain."""
    if config.patient_ids == "plain":
        return data
    folder = (store.folder if store else None) or store_dir()
    return replace(data, manifest=hash_patients(data.manifest, folder))


def origin(session: Session, data: PreparedData, device: str, weights: str) -> dict[str, str]:
    """The tags that say where a run comes from."""
    return {
        **run_tags(session.command, device),
        "cxrlab.data_fingerprint": data.fingerprint,
        "cxrlab.split_hash": data.manifest.split_hash(),
        "cxrlab.weights": weights,
        OUTPUT_TAG: str(session.output),
        **_trial_tags(session),
    }


@contextmanager
def open_run(session: Session, store: Store | None, tags: Mapping[str, str]) -> Iterator[Run]:
    """The session's run, new or reopened, with its params and tags."""
    config = session.config
    parameters = config.plain()
    for section in (
        "register",
        "resume",
        "resume_changed",
        "sweep",
    ):  # not part of what is repeated
        del parameters[section]
    write_config(session)  # before the run is in the store, so that every one there can go on
    opened: Run | None = None
    try:
        with start_run(
            store,
            experiment=config.tracking.experiment,
            name=run_name(session),
            output=session.output,
            tags=tags,
            params=flatten(parameters),
            grace=config.tracking.grace,
            run_id=session.run_id,
        ) as run:
            # At once, so that a process that dies leaves the way to its run.
            write_atomically(run.output / ID_FILE, run.run_id)
            opened = run
            yield run
    except KeyboardInterrupt:
        if opened is not None:
            logging.getLogger("cxrlab").warning(
                "interrupted; go on with: python -m cxrlab.train resume=%s", opened.run_id
            )
        raise


def _trial_tags(session: Session) -> dict[str, str]:
    if session.sweep is None:
        return {}
    return trial_tags(session.sweep, session.job)


def run_name(session: Session) -> str:
    """The name that the user gave; else of a trial, what varies; else what the user changed.

    The latter is the overrides, the backbone, and the time, which tells runs apart whatever the
    seed. What differs between runs comes first: the UI shows the first words in its charts.
    """
    if session.sweep is not None:
        return session.sweep.trial_name(session.overrides, session.job or 0)
    if session.config.tracking.name:
        return session.config.tracking.name
    ignored = ("tracking", "register", "resume", "hydra", "data.root", "data.cache", "model=")
    parts = []
    for override in session.overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not override.lstrip("+~").startswith(ignored):
            parts.append(f"{key.rpartition('.')[2]}={value}")
    parts.append(session.config.model.backbone)
    if session.job is not None:
        parts.append(f"#{session.job}")
    return cut(" ".join(parts), _NAME_LENGTH) + datetime.now().strftime(" %m-%d %H:%M:%S")


def write_config(session: Session) -> None:
    """Write what a run needs to go on: its configuration, and which version read it."""
    for name, text in {
        CONFIG_FILE: yaml.safe_dump(session.config.plain(), sort_keys=False),
        OVERRIDES_FILE: yaml.safe_dump(list(session.overrides)),
        VERSION_FILE: f"{cxrlab.__version__}\n",
    }.items():
        write_atomically(session.output / name, text)


def write_inputs(run: Run, session: Session, batches: ImageDataModule, audit: Audit) -> None:
    """Write what was decided and found before training; pages and pictures follow while it runs."""
    config, data = session.config, batches.data
    texts = {
        ENVIRONMENT_FILE: environment_text(),
        MANIFEST_FILE: data.with_digests().to_csv(index=False),
        "data/bad_images.yaml": yaml.safe_dump(data.bad),
        AUDIT_FILE: json.dumps(audit.to_json(), indent=2),
    }
    for name, text in texts.items():
        write_atomically(run.output / name, text)
    run.defer(partial(_write_page, audit, data, run.output / "data" / "audit.html"))
    # At once, since it computes with torch.
    images, labels = _some_of_training(data)
    _write_augmented(run.output / _SHEET, images, labels, Augmenter(config.augmentation))
    for name in ("config", "data", _SHEET):
        run.upload(name)
    for split in SPLITS:
        run.log_dataset(
            data.manifest.split(split),
            name=data.manifest.name,
            split=split,
            digest=data.manifest.digest(split),
            source=str(data.manifest.root),
        )


def _some_of_training(data: PreparedData) -> tuple[NDArray[np.uint8], list[str]]:
    """Some training images of every class, (N, H, W), and their labels."""
    train = data.manifest.split("train")
    chosen = panel_indices(train, data.manifest.with_table(train).strata(), _AUGMENTED_IMAGES)
    # Not the whole split, which may be larger than the memory.
    rows = data.rows[data.manifest.table["split"] == "train"][chosen]
    return np.asarray(data.pixels[rows]), train["label"].iloc[chosen].tolist()


def _write_page(audit: Audit, data: PreparedData, file: Path) -> None:
    from cxrlab.data.audit.page import write_page  # imports scikit-learn

    write_page(audit, data, file)


def _write_augmented(
    file: Path, images: NDArray[np.uint8], labels: list[str], augment: Augmenter
) -> None:
    sheet = draw_augmented(images, labels, augment)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


def write_results(
    run: Run, evaluation: Evaluation, gate: Gate | None, classifier: Classifier
) -> None:
    """Log the final metrics; keep operating point and gate with the best checkpoint."""
    step = max(1, classifier.trainer.global_step)
    run.log_metrics(evaluation.values(), step)
    file = run.output / BEST
    saved = torch.load(file, map_location="cpu", weights_only=True)
    # `last.ckpt` is there to go on from; this one is to be used, and needs no optimizer.
    checkpoint = {name: saved[name] for name in _USED}
    checkpoint["operating_point"] = asdict(evaluation.point)
    checkpoint["gate"] = gate.plain() if gate else None
    changed = file.with_suffix(".new")
    torch.save(checkpoint, changed)
    changed.replace(file)


def upload_outputs(run: Run) -> None:
    """Send what the run wrote to its artifacts."""
    run.flush()
    for name in _UPLOADED:
        if (run.output / name).exists():
            run.upload(name)


def report(run: Run, tags: Mapping[str, str]) -> None:
    """Write and store the run's page and model card, from its folder, and its gist as the note."""
    from cxrlab.report.finished import read_run
    from cxrlab.report.model_card import write_model_card
    from cxrlab.report.note import run_note
    from cxrlab.report.report import write_report

    run.flush()  # the page reads metrics.csv
    run_id = run.run_id if run.uri else None
    write_report(run.output, run_id=run_id, tags=tags)
    run.upload(REPORT_FILE)
    found = read_run(run.output, run_id, tags)
    for file in write_model_card(found):
        run.upload(file.name)
    run.set_tags({NOTE_TAG: run_note(found, run.page)})


def log_model(run: Run, config: TrackingConfig) -> None:
    """Log what predicts, as a model that serves without the run and this package."""
    if not (config.enabled and config.log_model):
        return
    from cxrlab.tracking.model import log_network

    log_network(run)


def register_model(run: Run, store: Store | None, name: str | None) -> None:
    """Make the run a version of the registered model `name`, if there is one and a store."""
    if name is None or store is None:
        return
    from cxrlab.tracking.registry import register

    try:
        done = register(store, run.run_id, name)
    except UserError as error:  # the run is whole, whatever becomes of its name
        warn(f"register={name}: not registered ({error}); do so in the MLflow UI")
        return
    logging.getLogger("cxrlab").info(
        "registered as models:/%s/%s, alias %s", done.name, done.version, done.alias
    )
