from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from cxrlab.tracking.store import Store, experiment_id
from cxrlab.tracking.ui import refresh_views
from cxrlab.tracking.views import NOTE_TAG, RUNS_VIEW, VIEWS, view_tags

LONGEST = 5000  # characters of an experiment's tag in servers of MLflow 3.14 and older
PREFIX = "mlflow.sharedViewState."


def _tags(store: Store, experiment: str) -> dict[str, str]:
    return dict(store.client().get_experiment(experiment).tags)


def _state(tag: str) -> dict[str, Any]:
    packed = json.loads(tag)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_a_new_experiment_has_its_views_and_a_description(store: Store) -> None:
    tags = _tags(store, experiment_id(store, "new"))
    assert "Views" in tags[NOTE_TAG]
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    names = [json.loads(tags[f"{PREFIX}{key}"])["name"] for key in VIEWS]
    assert names == ["cxrlab: runs", "cxrlab: trials of sweeps"]


def test_every_chart_lies_in_a_section_and_every_column_has_a_width() -> None:
    for tag in view_tags().values():
        assert len(tag) < LONGEST
        state = _state(tag)
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
        assert set(state["selectedColumns"]) < set(state["columnOrder"])
        assert set(state["columnWidths"]) == set(state["columnOrder"])


def test_the_menu_has_the_view_of_runs_on_top() -> None:
    created = {key: json.loads(tag)["createdAt"] for key, tag in view_tags().items()}
    assert max(created, key=lambda key: created[key]) == f"{PREFIX}{RUNS_VIEW}"


def test_no_view_sorts_by_test() -> None:
    orders = [_state(tag)["orderByKey"] for tag in view_tags().values()]
    assert not any("test" in order for order in orders)


def test_an_older_experiment_gets_the_views_and_keeps_what_its_owner_wrote(store: Store) -> None:
    client = store.client()
    own = f"{PREFIX}own"
    old = client.create_experiment("old", tags={NOTE_TAG: "mine", own: "{}"})
    client.set_experiment_tag(old, f"{PREFIX}{RUNS_VIEW}", "of an older version")
    refresh_views(store, "old")
    tags = _tags(store, old)
    assert tags[NOTE_TAG] == "mine"
    assert tags[own] == "{}"
    assert view_tags().items() <= tags.items()


def test_an_experiment_that_nobody_described_is_described(store: Store) -> None:
    bare = store.client().create_experiment("bare")
    refresh_views(store, "bare")
    assert "Views" in _tags(store, bare)[NOTE_TAG]


def test_where_there_is_no_experiment_yet_nothing_is_made(store: Store) -> None:
    refresh_views(store, "none yet")
    assert store.client().get_experiment_by_name("none yet") is None
