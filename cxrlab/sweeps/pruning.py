"""The end of a trial that others have left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytorch_lightning as pl

from cxrlab.errors import PrunedError
from cxrlab.training.session import Session

if TYPE_CHECKING:
    import optuna

_STARTUP_TRIALS = 5
_WARMUP_EPOCHS = 1


def pruning_callbacks(session: Session) -> list[pl.Callback]:
    """The pruner of a trial of a search; none for any other run."""
    sweep = session.sweep
    if sweep is None or sweep.kind != "optuna" or not sweep.prune or session.job is None:
        return []
    from optuna.pruners import MedianPruner

    from cxrlab.sweeps.study import open_study

    pruner = MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=_WARMUP_EPOCHS)
    study = open_study(sweep, session.output.parent, pruner=pruner)
    return [Pruning(study, session.job, sweep.objective[0])]


class Pruning(pl.Callback):
    """Reports the objective after each epoch, and ends a trial below the median of the others.

    The median is that of the best values of all earlier trials up to the same epoch (Optuna's
    MedianPruner; the median stopping rule of Golovin et al., Google Vizier, 2017). The first five
    trials and the first epoch are never ended.
    """

    def __init__(self, study: optuna.Study, number: int, metric: str) -> None:
        """Report a metric of the trial with this number of a study."""
        import optuna

        found = study.get_trials(deepcopy=False)[number]
        self._trial = optuna.trial.Trial(study, found._trial_id)
        self._metric = metric

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, and end the trial if it is to end.

        Raises:
            PrunedError: others did better.
        """
        value = trainer.callback_metrics.get(self._metric)
        if value is None or trainer.sanity_checking:
            return  # a metric of the end alone: nothing to go by
        self._trial.report(float(value), trainer.current_epoch)
        if self._trial.should_prune():
            raise PrunedError(
                f"ended after epoch {trainer.current_epoch + 1}: {self._metric} "
                f"{float(value):.4f} is worse than the median of the other trials"
            )
