"""What lies where in a run's folder, which its artifacts repeat."""

from __future__ import annotations

CONFIG_FILE = "config/config.yaml"
OVERRIDES_FILE = "config/overrides.yaml"
ENVIRONMENT_FILE = "config/environment.txt"
VERSION_FILE = "config/version.txt"
ID_FILE = "config/run_id.txt"
MANIFEST_FILE = "data/manifest.csv"
AUDIT_FILE = "data/audit.json"
METRICS_FILE = "metrics.csv"
PREDICTIONS = "predictions"
EVALUATION = "evaluation"
RESULTS_FILE = f"{EVALUATION}/results.json"
FIGURES = "figures"
EXPLANATIONS = "explanations"
CHECKPOINTS = "checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"
REPORT_FILE = "report.html"
MODEL_CARD = "model_card"  # .md and .html
UNSENT_FILE = "unsent.json"
