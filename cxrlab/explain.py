"""`python -m cxrlab.explain`: attribution maps of a finished run, and whether to believe them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.config.no_effect import refuse_without_effect
from cxrlab.layout import BEST, FIGURES

if TYPE_CHECKING:
    from cxrlab.config.commands import ExplainConfig
    from cxrlab.config.datasets import DataBase
    from cxrlab.data.manifest import Manifest
    from cxrlab.explanation.quality.results import Results
    from cxrlab.serving.predictor import Predictor

PREDICTIONS = "predictions.csv"


@command("explain", schema="ExplainConfig")
def main(config: ExplainConfig) -> None:
    """Find the run before anything heavy is imported, then explain."""
    from hydra.core.hydra_config import HydraConfig

    from cxrlab.serving.runs import find_folder

    refuse_without_effect(HydraConfig.get().overrides.task)
    folder = find_folder(config.run, config.tracking)
    output = Path(HydraConfig.get().runtime.output_dir)
    explain(config, folder, output)
    print(output)


def explain(config: ExplainConfig, folder: Path, output: Path) -> Results:
    """Explain, measure, draw; write, track and print it.

    Args:
        config: what to explain, and how.
        folder: of the finished run, which is not changed.
        output: folder for maps, tables, figures and the page `quality.html`.

    Raises:
        UserError: the run is not finished, or the dataset or a case can't be had.
    """
    import torch

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.evaluation.predictions import write_predictions
    from cxrlab.explanation.quality.files import quality_metrics, write_results
    from cxrlab.explanation.quality.run import collect_cases, measure_methods
    from cxrlab.explanation.quality.terminal import print_quality
    from cxrlab.serving.dataset import predict_dataset
    from cxrlab.serving.predictor import Predictor
    from cxrlab.tracking.derived import derived_run, run_label

    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = Predictor.load(folder / BEST, device)
    data, manifest, known = _dataset(config, predictor, folder)
    table = predict_dataset(predictor, manifest, known, data, config.batch_size)
    write_predictions(table, output / PREDICTIONS)
    cases = collect_cases(predictor, manifest, table, data, config.cases)
    label = run_label(folder)
    results = measure_methods(config, predictor, cases, table, run=label[:8], data=manifest.name)
    write_results(results, output)
    _draw(results, predictor.point.cuts, config, output)
    with derived_run(
        config.tracking,
        command="explain",
        name=f"explain {label[:8]} on {manifest.name}",
        output=output,
        tags={"cxrlab.explained": label},
        params=config.model_dump(mode="json"),
        device=device.type,
    ) as run:
        run.log_metrics(quality_metrics(results))
    print_quality(results)
    return results


def _dataset(
    config: ExplainConfig, predictor: Predictor, folder: Path
) -> tuple[DataBase, Manifest, frozenset[str]]:
    """The images, with the run's classes, and the digests of those to leave out."""
    from cxrlab.config.paths import store_dir
    from cxrlab.data.sources import load_manifest
    from cxrlab.serving.dataset import dataset_for, known_digests
    from cxrlab.serving.own import own_images
    from cxrlab.tracking.ids import hash_patients

    if config.data is None:
        data, manifest = own_images(folder, config.split or "test")
        known: frozenset[str] = frozenset()  # the split was asked for
    else:
        data = config.data
        found = load_manifest(data)
        manifest = dataset_for(predictor, found, config.labels, config.split, data)
        known = known_digests(folder) if config.seen == "drop" else frozenset()
    if config.tracking.patient_ids == "hashed":
        manifest = hash_patients(manifest, store_dir())
    return data, manifest, known


def _draw(
    results: Results, thresholds: tuple[float, ...], config: ExplainConfig, output: Path
) -> None:
    """The figures as files, and on the page."""
    from cxrlab.explanation.quality.figures import draw_all
    from cxrlab.explanation.quality.page import write_page
    from cxrlab.files import write_atomically

    pictures: dict[str, bytes] = {}
    for stem, figure in draw_all(results, thresholds, config.sheet_cases).items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
        pictures[stem] = drawn.getvalue()
        write_atomically(output / FIGURES / f"{stem}.png", pictures[stem])
    write_page(results, pictures, config.bootstrap, output)


if __name__ == "__main__":
    main()
