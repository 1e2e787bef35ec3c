"""Runs in MLflow: the store that keeps them, the run that is written, where it came from.

MLflow reads these variables while it is imported, and every module here imports it later than
this: no telemetry, no progress bars, and no lines of its own on stdout, where the commands print
what other programs read. A request is sent once: MLflow would try it again for four minutes, and
would send a metric twice or make two runs where only the answer was lost; what is tried again, and
how, is for `cxrlab.tracking.outbox` to say.
"""

from __future__ import annotations

import os

for _variable, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_variable, _value)
