"""`python -m cxrlab.evaluate`: the numbers of a finished run, anew or on another dataset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.config.no_effect import refuse_without_effect
from cxrlab.errors import UserError

if TYPE_CHECKING:
    from cxrlab.config.commands import EvaluateConfig
    from cxrlab.evaluation.evaluation import Evaluation

_log = logging.getLogger("cxrlab")


@command("evaluate", schema="EvaluateConfig")
def main(config: EvaluateConfig) -> None:
    """Find the run before anything heavy is imported, then evaluate."""
    from hydra.core.hydra_config import HydraConfig

    from cxrlab.serving.runs import find_folders

    refuse_without_effect(HydraConfig.get().overrides.task)
    folders = find_folders(config.run, config.tracking)
    output = Path(HydraConfig.get().runtime.output_dir)
    evaluate(config, folders, output)
    print(output)


def evaluate(config: EvaluateConfig, folders: Sequence[Path], output: Path) -> Evaluation:
    """Compute every number again, or score a dataset; print, write and track them.

    Args:
        config: what to evaluate.
        folders: of the finished run, or of several that decide together; they are not changed.
        output: folder for the tables, numbers and figures.

    Raises:
        UserError: a run is not finished, the dataset can't be scored by it, or several runs have
            no dataset to score.
    """
    from cxrlab.evaluation import stage
    from cxrlab.evaluation.summary import print_results
    from cxrlab.tracking.derived import derived_run, run_label

    if config.data is None and len(folders) > 1:
        raise UserError(
            f"run=[{','.join(config.run)}]: each has predictions of its own, none has those of all "
            "together; add the images to score: data=NAME split=test"
        )
    found = again(folders[0], config.bootstrap) if config.data is None else score(config, folders)
    labels = " + ".join(run_label(folder)[:8] for folder in folders)
    stage.write(found, output, config.bootstrap)
    with derived_run(
        config.tracking,
        command="evaluate",
        name=f"evaluate {labels}{f' on {config.data.name}' if config.data else ''}",
        output=output,
        tags={"cxrlab.evaluated": ",".join(map(run_label, folders))},
        params=config.model_dump(mode="json"),
    ) as run:
        run.log_metrics(found.values())
    print_results(found.metrics, found.task, thresholds=found.point.thresholds)
    return found


def again(folder: Path, draws: int) -> Evaluation:
    """The numbers of a run's prediction tables, which are those that it told itself."""
    from dataclasses import replace

    from cxrlab.evaluation import stage
    from cxrlab.evaluation.evaluation import Evaluation

    told = Evaluation.read(folder)
    metrics = {
        split: stage.measure(table, told.task, told.point, draws)
        for split, table in told.tables.items()
    }
    return replace(told, metrics=metrics)


def score(config: EvaluateConfig, folders: Sequence[Path]) -> Evaluation:
    """The runs on a dataset, as its `test`; calibration and threshold are theirs."""
    import torch

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.config.paths import store_dir
    from cxrlab.data.sources import load_manifest
    from cxrlab.evaluation import stage
    from cxrlab.evaluation.evaluation import Evaluation
    from cxrlab.serving.dataset import dataset_for, known_digests, predict_dataset
    from cxrlab.serving.ensemble import load_predictor
    from cxrlab.serving.runs import checkpoint_in
    from cxrlab.tracking.ids import hash_patients

    assert config.data is not None
    known: frozenset[str] = frozenset()
    if config.seen == "drop":
        known = known.union(*map(known_digests, folders))
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoints = [checkpoint_in(*each) for each in zip(folders, config.run, strict=True)]
    predictor = load_predictor(checkpoints, device)
    found = load_manifest(config.data)
    manifest = dataset_for(predictor, found, config.labels, config.split, config.data)
    if config.tracking.patient_ids == "hashed":
        manifest = hash_patients(manifest, store_dir())
    _log.info("scoring %d images of %s on %s", len(manifest), manifest.name, device)
    table = predict_dataset(predictor, manifest, known, config.data, config.batch_size)
    metrics = stage.measure(table, predictor.task, predictor.point, config.bootstrap)
    return Evaluation(predictor.task, predictor.point, {"test": table}, {"test": metrics})


if __name__ == "__main__":
    main()
