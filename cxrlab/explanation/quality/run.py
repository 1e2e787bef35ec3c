"""From a finished run and a dataset to explanations and their quality."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cxrlab.config.commands import ExplainConfig
from cxrlab.config.datasets import DataBase
from cxrlab.config.paths import cache_dir
from cxrlab.data.cache import open_cache
from cxrlab.data.manifest import Manifest
from cxrlab.errors import UserError, warn
from cxrlab.evaluation.stage import measure
from cxrlab.explanation.attribution import AttributionMethod
from cxrlab.explanation.cases import Cases, case_table, choose_rows, known_masks
from cxrlab.explanation.methods.registry import build
from cxrlab.explanation.quality.chance import Chance
from cxrlab.explanation.quality.model import Model
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.study import Effort, Study, study
from cxrlab.explanation.quality.summary import summarise
from cxrlab.progress import progress
from cxrlab.serving.predictor import Predictor

_log = logging.getLogger("cxrlab")


def collect_cases(
    predictor: Predictor, manifest: Manifest, table: pd.DataFrame, data: DataBase,
    wanted: int | str | Sequence[int | str],
) -> Cases:  # fmt: skip
    """The images to explain, decoded, with their masks.

    Args:
        predictor: of the run.
        manifest: holds a row for each row of the table.
        table: the predictions.
        data: where decoded images are kept.
        wanted: the key `cases` of the configuration.

    Raises:
        UserError: a row or path is not among the predictions.
    """
    rows = manifest.table.set_index("path", drop=False).loc[table["path"]]
    strata = manifest.with_table(rows).strata()
    chosen = choose_rows(table, strata, wanted)
    told = case_table(table.iloc[chosen], predictor.task, strata[chosen])
    paths, folder = told["path"].tolist(), cache_dir(data.cache)
    cache = open_cache(manifest.root, paths, predictor.image_size, predictor.preprocess, folder)
    how = predictor.preprocess.model_dump()
    lesions, markers = known_masks(told, manifest, predictor.image_size, how)
    return Cases(predictor.task, told, np.asarray(cache.pixels[cache.rows]), lesions, markers)


def measure_methods(
    config: ExplainConfig, predictor: Predictor, cases: Cases, table: pd.DataFrame, *, run: str,
    data: str,
) -> Results:  # fmt: skip
    """Explain the cases by every method, and measure the maps.

    A method that the network has nothing for is left out, with a warning.

    Args:
        config: methods, and how thoroughly to measure.
        predictor: of the run.
        cases: what to explain.
        table: all predictions.
        run: what the run is called.
        data: what the dataset is called.

    Raises:
        UserError: no method is left.
    """
    model = Model(predictor.single_look, predictor.task, config.batch_size)
    effort = Effort(config.checked_cases, config.curve_steps, config.perturbations, config.radius)
    found: list[Result] = []
    failed: dict[str, str] = {}
    for name in config.methods:
        try:
            made = _study(build(name, config.explanation), model, cases, effort)
        except UserError as error:
            failed[name] = str(error)
            warn(f"{name}: not made, the other methods go on: {error}")
            continue
        _tell(made)
        found.append(Result(made, summarise(made, cases.patients, config.bootstrap)))
    if not found:
        raise UserError(f"methods: none can be made; {next(iter(failed.values()))}")
    floor = _study(Chance(config.batch_size), model, cases, replace(effort, checked=0))
    return Results(
        run=run,
        data=data,
        cases=cases,
        predicted=measure(table, predictor.task, predictor.point, config.bootstrap),
        methods=tuple(found),
        chance=Result(floor, summarise(floor, cases.patients, config.bootstrap)),
        failed=failed,
    )


def _study(method: AttributionMethod, model: Model, cases: Cases, effort: Effort) -> Study:
    _log.info("%s: explaining and measuring %d images", method.name, len(cases))
    with progress(len(cases), method.name) as advance:
        return study(method, model, cases, effort, advance)


def _tell(made: Study) -> None:
    """Warn of maps that nothing can be measured of."""
    if made.unusable:
        reasons = sorted(set(made.unusable.values()))
        warn(
            f"{made.method}: {len(made.unusable)} of {len(made.maps)} maps are "
            f"{' or '.join(reasons)}, so nothing is measured of them; the column note of "
            "explanations.csv names them: look at these images"
        )
