"""What MLflow runs to load a model; `cxrlab.serving.pyfunc` tells the rest."""

from __future__ import annotations

from mlflow.models import set_model

from cxrlab.serving.pyfunc import ServedModel

set_model(ServedModel())
