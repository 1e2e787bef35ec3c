"""The sweeper that Hydra finds by its place, a namespace package that all its plugins share.

Hydra imports it at every start, so it imports nothing that is not imported anyway.
"""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CxrlabSweeper(Sweeper):
    """Hands what Hydra knows to `cxrlab.sweeps.engine`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a sweep needs, and set up the launcher with trials that never raise."""
        from uuid import uuid4

        from cxrlab.sweeps.trial import TrialTask

        self._context = hydra_context
        self._config = config
        self._session = uuid4().hex
        task = TrialTask(task_function, self._session)
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run every trial and summarise them."""
        from cxrlab.sweeps.engine import run_sweep

        loader = self._context.config_loader
        run_sweep(arguments, self._config, loader, self._launcher, self._session)
