"""The run as an MLflow model."""

from __future__ import annotations

import logging
import shutil
import warnings

import torch

from cxrlab.exporting.mlflow_model import save_model
from cxrlab.layout import BEST
from cxrlab.serving.predictor import Predictor
from cxrlab.tracking.run import Run

NAME = "model"


def log_network(run: Run) -> None:
    """Log the best checkpoint as a pyfunc; see `cxrlab.serving.pyfunc`.

    It is written to `model/` of the run's folder, where MLflow's functions can load it as well.

    Args:
        run: an open run, whose results are written.
    """
    predictor = Predictor.load(run.output / BEST, torch.device("cpu"))
    folder = run.output / NAME
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed while it wrote
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_model(predictor, run.run_id, folder)
    run.log_network(NAME)
