"""`python -m cxrlab.train`: fit, choose on validation, evaluate, explain and track one run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytorch_lightning as pl
    import torch

    from cxrlab.config.schema import Config
    from cxrlab.data.datamodule import ImageDataModule
    from cxrlab.data.prepare import PreparedData
    from cxrlab.evaluation.evaluation import Evaluation
    from cxrlab.model.classifier import Classifier
    from cxrlab.tracking.run import Run
    from cxrlab.training.session import Session

_log = logging.getLogger("cxrlab")


@command("train", schema="Config")
def main(config: Config) -> None:
    """Refuse what is wrong with the data before anything heavy is imported, then train."""
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.training.rank import follow
    from cxrlab.training.ranks import ranks_of
    from cxrlab.training.requeue import requeued_when_preempted
    from cxrlab.training.session import open_session

    session = open_session(config)
    ranks = ranks_of(session.config.trainer)
    if ranks.rank:  # another process leads
        follow(session.output, ranks)
        return
    data = prepare(load_manifest(session.config.data), session.config.data)
    with requeued_when_preempted():
        print(f"run: {train(session, data)}")


def train(session: Session, data: PreparedData, callbacks: Sequence[pl.Callback] = ()) -> str:
    """The whole story of a run.

    Args:
        session: configuration, folder, and the run to go on with, if any.
        data: the dataset, decoded and split.
        callbacks: that watch the training, beside the run's own.

    Returns:
        The MLflow run id, or the run's folder without MLflow.
    """
    from pytorch_lightning import seed_everything

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.config.paths import cache_dir
    from cxrlab.data.audit.gate import heed
    from cxrlab.data.audit.run import audit_cached
    from cxrlab.evaluation.calibration import check_method
    from cxrlab.evaluation.summary import print_results
    from cxrlab.explanation.stage import explanation_panel
    from cxrlab.garbage import collect_as_usual
    from cxrlab.sweeps.pruning import pruning_callbacks
    from cxrlab.tracking import record
    from cxrlab.training.build import build_classifier, build_datamodule
    from cxrlab.training.fit import fit
    from cxrlab.training.hardware import choose_hardware
    from cxrlab.training.ranks import check_shares, ranks_of
    from cxrlab.training.resume import check_same_data, in_use
    from cxrlab.training.tuning import tune

    config = session.config
    ranks = ranks_of(config.trainer)
    check_shares(config, data.manifest, ranks)
    check_same_data(data, session.output, go_on=config.resume_changed)
    check_method(config.evaluation.calibration, data.manifest.task)
    # The server was there when a sweep began, so its trials wait for it to return.
    wait = config.tracking.grace if session.sweep is not None else 0
    store = record.open_configured_store(config.tracking, wait)
    data = record.with_hashed_patients(data, config.tracking, store)
    audit = audit_cached(data, cache_dir(config.data.cache))
    heed(audit, config.audit)
    hardware = choose_hardware(config.trainer, ranks)
    keep_freed_memory()
    _log.info("%s\n%s", data.manifest.name, data.manifest.counts().to_string(index=False))
    _log.info(hardware.description)
    tuned = tune(config, data, hardware, session.output)
    config, session = tuned.config, replace(session, config=tuned.config)
    seed_everything(config.seed, verbose=False)
    classifier, weights = build_classifier(config, data)
    tags = {**record.origin(session, data, hardware.description, weights), **tuned.tags}
    with in_use(session.output), record.open_run(session, store, tags) as run:
        batches = build_datamodule(config, data, classifier, hardware.device, ranks)
        record.write_inputs(run, session, batches, audit)
        tuned.log(run)
        panel = explanation_panel(config.explanation, batches, run)
        collect_as_usual()
        watching = [*panel, *pruning_callbacks(session), *callbacks]
        fit(config, classifier, batches, run, hardware, watching, ranks)
        evaluation = _conclude(session, classifier, batches, run, hardware.device)
        record.report(run, tags)
        record.log_model(run, config.tracking)
    record.register_model(run, store, config.registered)
    print_results(evaluation.metrics, data.manifest.task, thresholds=evaluation.point.thresholds)
    return run.run_id


def _conclude(
    session: Session,
    classifier: Classifier,
    batches: ImageDataModule,
    run: Run,
    device: torch.device,
) -> Evaluation:
    """Choose the operating point on validation, measure, explain, and keep all of it."""
    from cxrlab.evaluation import stage
    from cxrlab.explanation.stage import explain_gallery
    from cxrlab.tracking import record
    from cxrlab.training.gate import learn_gate
    from cxrlab.training.inference import predict_logits
    from cxrlab.training.shifted import predict_shifted

    config = session.config
    names = ["val", "test"] if config.evaluation.test else ["val"]
    logits = {
        name: predict_logits(classifier, batches.whole(name), device, f"predicting {name}")
        for name in names
    }
    shifted = predict_shifted(classifier, batches.whole("val"), device, config.evaluation)
    manifest = batches.data.manifest
    found = stage.evaluate(manifest, logits, config.threshold, config.evaluation, shifted)
    stage.write(found, run.output, config.evaluation.bootstrap)
    record.write_results(run, found, learn_gate(config.evaluation, batches.data, run), classifier)
    explain_gallery(config.explanation, classifier, found, batches, run)
    record.upload_outputs(run)
    return found


if __name__ == "__main__":
    main()
