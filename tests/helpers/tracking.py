"""What other processes run in tests of the tracking store."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path

from cxrlab.tracking.run import start_run
from cxrlab.tracking.store import open_store

STEPS = 30


def log_one_run(folder: Path, index: int, together: Barrier) -> None:
    """Open the store at the same moment as the others and log a run."""
    output = folder.parent / f"output_{index}"
    together.wait()
    store = open_store(None, folder)
    with start_run(
        store,
        experiment="race",
        name=f"run {index}",
        output=output,
        tags={},
        params={"i": index},
        grace=1,
    ) as run:
        for step in range(STEPS):
            run.log_metrics({"train/loss": step * index}, step)
            if step % 10 == 0:
                run.flush()
