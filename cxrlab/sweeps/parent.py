"""The MLflow run above the trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import Config
from cxrlab.sweeps.lost import end_lost_parents
from cxrlab.sweeps.records import Sweep, command_line, repeatable, split_override
from cxrlab.sweeps.tags import sweep_tags
from cxrlab.tracking.provenance import run_tags
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.store import open_store


@contextmanager
def open_sweep(
    sweep: Sweep, config: Config, folder: Path, swept: Mapping[str, str]
) -> Iterator[tuple[Run, Sweep]]:
    """The sweep's own run, new or reopened, and the sweep with its id.

    Args:
        sweep: what its trials share.
        config: of its first trial.
        folder: of the sweep.
        swept: for each key that varies, the values or the space.

    Raises:
        UserError: the store can't be used.
    """
    tracking = config.tracking
    varied = " x ".join(sweep.short(key) for key in sweep.varies) or "one trial"
    params = dict(split_override(override) for override in repeatable(sweep.fixed))
    store = open_store(tracking.uri, store_dir()) if tracking.enabled else None
    with start_run(
        store,
        experiment=tracking.experiment,
        name=tracking.name or f"sweep {varied} {sweep.name}"[:100],
        output=folder,
        tags={
            **run_tags(command_line(sweep.name), "cpu"),
            **sweep_tags(sweep.name, sweep.kind, folder),
        },
        params={**params, **swept},
        grace=tracking.grace,
        run_id=sweep.parent,
    ) as run:
        if store is not None:
            end_lost_parents(store, sweep.name, folder, run.run_id)
        yield run, replace(sweep, parent=run.run_id if store is not None else None)
