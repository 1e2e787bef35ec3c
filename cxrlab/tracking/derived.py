"""Runs in MLflow that tell something of other runs: their evaluation elsewhere, a comparison."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cxrlab.config.paths import store_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.layout import ID_FILE
from cxrlab.tracking.params import flatten
from cxrlab.tracking.provenance import run_tags
from cxrlab.tracking.run import Run, start_run
from cxrlab.tracking.store import open_store


@contextmanager
def derived_run(
    config: TrackingConfig,
    *,
    command: str,
    name: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    device: str = "cpu",
) -> Iterator[Run]:
    """A run of its own, all of whose folder is uploaded at its end.

    It has no checkpoint, so `latest` and `resume` never mean it.

    Args:
        config: where runs are kept.
        command: which, such as `evaluate`.
        name: of the run; the time is added.
        output: its folder.
        tags: what it tells of.
        params: the command's configuration.
        device: what it computes on.

    Raises:
        UserError: the store can't be used.
    """
    line = shlex.join(["python", "-m", f"cxrlab.{command}", *sys.argv[1:]])
    with start_run(
        open_store(config.uri, store_dir()) if config.enabled else None,
        experiment=config.experiment,
        name=f"{name} {datetime.now():%m-%d %H:%M:%S}",
        output=output,
        tags={**run_tags(line, device), "cxrlab.kind": command, **tags},
        params=flatten(dict(params)),
        grace=config.grace,
    ) as run:
        yield run
        run.flush()
        for file in sorted(output.iterdir()):
            if not file.name.startswith("."):
                run.upload(file.name)


def run_label(folder: Path) -> str:
    """The MLflow id of the run in a folder, or the folder's name where it has none."""
    file = folder / ID_FILE
    return Path(file.read_text().strip()).name if file.is_file() else folder.name
