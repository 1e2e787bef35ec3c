"""What the MLflow UI shows of an experiment before anybody has set it up.

The UI keeps the chosen columns, their order and the charts of a browser in that browser; but it
reads views that were saved for everyone from tags of the experiment, and lists them under `Views`.
These are written when an experiment is made, so that any MLflow server shows them too, and
brought up to date by `python -m cxrlab.ui`.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTE_TAG = "mlflow.note.content"  # Markdown, of a run or an experiment
COLOUR_TAG = "mlflow.runColor"  # of a run in charts, as #RRGGBB
RUNS_VIEW = "cxrlab-runs"
VIEW_QUERY = "viewStateShareKey"  # in an address: the view to open
_TRIALS_VIEW = "cxrlab-trials"
_VIEW_TAG = "mlflow.sharedViewState."
# Without it the page asks whether the experiment is one of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_NAME_COLUMN = "attributes.`Run Name`"
_NAME_WIDTH = 300  # pixels; the UI's own 170 show the first two words
_FIRST = 1_767_225_600_000  # milliseconds since 1970; the menu has the latest on top

NOTE = """\
**One row is one run**; a sweep has an arrow that shows its trials. A run's page begins with its \
verdict and leads to its report (Artifacts, `report.html`).

**Views**, at the top, choose columns and charts: *cxrlab: runs*, and *cxrlab: trials of sweeps* \
with the best on top. The chart button left of the search box draws the runs that have an open \
eye, `val/auroc` first.

**Search** by tags and metrics: ``tags.`cxrlab.kind` = 'sweep'``, \
``tags.`cxrlab.weights` = 'imagenet'``, ``metrics.`val/auroc` > 0.9``, \
``params.`data.name` = 'chest_xray'``.

Parameters cover the pictures of a run's panel until *Configure* in the card's menu turns *Show \
run parameters* off.

Choose by `val/`; `test/` is read once, at the end.
"""


@dataclass(frozen=True)
class View:
    """A saved view of the table of runs.

    Attributes:
        name: in the menu.
        columns: as the UI names them (see `_metric`), in order, beside the run's name and age.
        search: filter of the table.
        order_by: column that sorts, the largest or latest first.
    """

    name: str
    columns: tuple[str, ...]
    search: str = ""
    order_by: str = "attributes.start_time"


def _metric(name: str) -> str:
    return f"metrics.`{name}`"


def _param(name: str) -> str:
    return f"params.`{name}`"


def _tag(name: str) -> str:
    return f"tags.`{name}`"


_CHOICES = (
    _param("data.name"),
    _param("augmentation.name"),
    _param("optimizer.lr"),
    _param("model.backbone"),
    _param("seed"),
)
VIEWS = {
    RUNS_VIEW: View(
        "cxrlab: runs",
        (
            _metric("val/auroc"),
            _metric("test/auroc"),
            _metric("test/auroc_low"),
            _metric("test/auroc_high"),
            *_CHOICES,
            _tag("cxrlab.weights"),
            _metric("test/recall"),
            _metric("test/specificity"),
        ),
    ),
    _TRIALS_VIEW: View(
        "cxrlab: trials of sweeps",
        (
            _metric("val/auroc"),
            _metric("val/auroc_low"),
            _metric("val/auroc_high"),
            _metric("val/loss"),
            _tag("cxrlab.sweep"),
            _tag("cxrlab.trial"),
            *_CHOICES,
            _param("data.fold"),
        ),
        search="tags.`cxrlab.kind` = 'trial'",
        order_by=_metric("val/auroc"),
    ),
}
# Section -> kind of chart and metrics; the UI adds sections for all other metrics below.
_CHARTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "Over the steps": ("LINE", ("val/auroc", "val/loss", "train/loss")),
    "At the end, on validation": (
        "BAR",
        ("val/balanced_accuracy", "val/recall", "val/specificity"),
    ),
    "At the end, on test": (
        "BAR",
        ("test/auroc", "test/recall", "test/specificity"),
    ),
}


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its description and its views."""
    return {NOTE_TAG: NOTE, **_KIND, **view_tags()}


def view_tags() -> dict[str, str]:
    """The views as tags of an experiment, in the form in which the UI itself saves them."""
    return {
        f"{_VIEW_TAG}{key}": json.dumps(
            {"name": view.name, "createdAt": _FIRST - index, "state": _packed(_state(view))}
        )
        for index, (key, view) in enumerate(VIEWS.items())
    }


def _packed(state: Mapping[str, Any]) -> str:
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _state(view: View) -> dict[str, Any]:
    """What the UI takes from a view; what is left out stays as the UI has it."""
    sections = [
        {"uuid": name, "name": name, "display": True, "isReordered": True} for name in _CHARTS
    ]
    charts = [
        _chart(section, kind, metric)
        for section, (kind, metrics) in _CHARTS.items()
        for metric in metrics
    ]
    return {
        "searchFilter": view.search,
        "orderByKey": view.order_by,
        "orderByAsc": False,
        "selectedColumns": view.columns,
        "columnOrder": (_NAME_COLUMN, *view.columns),
        "columnWidths": {_NAME_COLUMN: _NAME_WIDTH, **{c: _width(c) for c in view.columns}},
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def _width(column: str) -> int:
    """Pixels that the column's heading takes in the UI's bold type, with the mark of sorting."""
    return 7 * len(column.partition("`")[2]) + 36


def _chart(section: str, kind: str, metric: str) -> dict[str, Any]:
    chart = {
        "uuid": f"{section}: {metric}",
        "type": kind,
        "metricSectionId": section,
        "metricKey": metric,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,
    }
    if kind == "LINE":
        chart |= {
            "selectedMetricKeys": [metric],
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
            "xAxisKey": "step",
            "yAxisKey": "metric",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
            "range": {},
        }
    return chart
