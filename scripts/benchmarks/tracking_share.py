"""The share of the epochs that callbacks and logging take: prints one number in [0, 1].

Two epochs as `python -m cxrlab.train` makes them, MLflow and the explanation panel of every second
one included, timed by Lightning's own profiler hooks.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any


def main(*overrides: str) -> None:
    """Train two epochs; see the module."""
    import pytorch_lightning as pl
    from pytorch_lightning.profilers import Profiler

    from benchmarks.session import open_session
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.tracking.logger import RunLogger
    from cxrlab.train import train

    spent: dict[str, float] = defaultdict(float)

    class Clock(Profiler):
        def __init__(self) -> None:
            super().__init__()
            self._started: dict[str, float] = {}

        def start(self, action_name: str) -> None:
            self._started[action_name] = time.perf_counter()

        def stop(self, action_name: str) -> None:
            spent[action_name] += time.perf_counter() - self._started.pop(action_name)

    class Watch(pl.Callback):
        def setup(self, trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
            trainer.profiler = Clock()

    log = RunLogger.log_metrics

    def timed(*arguments: Any, **options: Any) -> None:
        start = time.perf_counter()
        log(*arguments, **options)
        spent["[Callback]logger"] += time.perf_counter() - start

    RunLogger.log_metrics = timed  # type: ignore[method-assign]
    session = open_session(*overrides, "trainer.max_epochs=2", "evaluation.test=false",
                           "explanation.gallery_images=0", "tracking.log_model=false")  # fmt: skip
    train(session, prepare(load_manifest(session.config.data), session.config.data), [Watch()])
    callbacks = {name: s for name, s in spent.items() if name.startswith("[Callback]")}
    for name, seconds in sorted(callbacks.items(), key=lambda item: -item[1])[:8]:
        print(f"{seconds:8.3f} s {name}")
    print(sum(callbacks.values()) / spent["run_training_epoch"])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(*sys.argv[1:])
