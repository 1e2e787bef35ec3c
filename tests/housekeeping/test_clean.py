"""Nothing that is not named is deleted, and nothing that is in use."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from helpers.housekeeping import age
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from cxrlab.errors import UserError
from cxrlab.housekeeping.clean import carry_out
from cxrlab.housekeeping.items import Part, remove
from cxrlab.layout import BEST, LAST, UNSENT_FILE
from cxrlab.sweeps.records import Sweep


def below(path: Path, named: set[Path]) -> bool:
    return any(path == one or one in path.parents for one in named)


def cache(place, *names: str) -> None:
    for name in names:
        folder = place.cache / name
        folder.mkdir(parents=True)
        (folder / "pixels.u8").write_bytes(b"p" * 100)
        age(folder)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_deleted_is_what_is_named_and_lies_in_known_folders(data, make_place) -> None:
    place = make_place()
    kinds = data.draw(st.lists(st.sampled_from(["run", "cache", "orphan", "other", "link"])))
    outside = place.folder / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    for number, kind in enumerate(kinds):
        if kind == "run":
            place.run(f"2026-01-01/{number}")
        elif kind == "cache":
            cache(place, f"images/{number}")
        elif kind == "orphan":
            folder = place.artifacts(f"{number:032x}")
            folder.mkdir(parents=True)
            age(folder)
        elif kind == "other":
            (place.outputs / "2026-01-01" / f"other{number}").mkdir(parents=True)
        else:
            (place.cache / "images").mkdir(exist_ok=True)
            (place.cache / "images" / f"link{number}").symlink_to(outside)
    clean = data.draw(st.sampled_from(["caches", "checkpoints", "runs", "orphans"]))
    keep = data.draw(st.sampled_from(["best", "null"]))
    before = place.tree()
    removals, tracking = place.plan(f"clean={clean}", f"keep={keep}", "older_than=30d")
    named = {part.path for removal in removals for part in removal.parts}
    assert place.tree() == before  # to plan is to touch nothing
    carry_out(removals, tracking)
    gone = before - place.tree()
    assert gone == {path for path in before if below(path, named)}
    assert (outside / "precious").exists()
    word = {"caches": "cache", "orphans": "orphan"}.get(clean, "run")
    assert bool(removals) == (word in kinds)


def test_a_run_goes_from_store_and_disk_together(place) -> None:
    gone, kept = place.run("2026-01-01/a"), place.run("2026-01-01/b")
    removals, tracking = place.plan("clean=runs", f"runs=['{gone[:12]}']")
    assert carry_out(removals, tracking) == sum(r.item.size for r in removals)
    assert not (place.outputs / "2026-01-01" / "a").exists()
    assert not place.artifacts(gone).exists()
    client = place.store.client()
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(gone)
    assert client.get_run(kept).info.status == "FINISHED"
    assert (place.outputs / "2026-01-01" / "b" / BEST).exists()
    assert place.artifacts(kept).exists()


def test_checkpoints_go_on_both_sides_and_the_best_stays(place) -> None:
    run_id = place.run("2026-01-01/a")
    place.run("2026-01-01/cut_off", status="KILLED")
    removals, tracking = place.plan("clean=checkpoints")
    copies = place.artifacts(run_id) / "artifacts" / "checkpoints"
    assert [p.path for r in removals for p in r.parts] == [
        place.outputs / "2026-01-01" / "a" / LAST, copies / "last.ckpt",
    ]  # fmt: skip
    assert carry_out(removals, tracking) == 140
    assert (place.outputs / "2026-01-01" / "a" / BEST).exists()
    assert (copies / "best.ckpt").exists()
    assert not (copies / "last.ckpt").exists()
    assert (place.outputs / "2026-01-01" / "cut_off" / LAST).exists()
    assert place.store.client().get_run(run_id).info.lifecycle_stage == "active"
    removals, _ = place.plan("clean=checkpoints", "keep=null")
    assert [p.path.name for r in removals for p in r.parts] == ["best.ckpt", "best.ckpt"]


def test_a_run_in_use_stays_and_naming_it_is_refused(place) -> None:
    run_id = place.run("2026-01-01/a")
    with FileLock(place.outputs / "2026-01-01" / "a" / ".lock"):
        assert place.plan("clean=runs")[0] == []
        with pytest.raises(UserError, match="is in use"):
            place.plan("clean=runs", f"runs=['{run_id}']")
    assert len(place.plan("clean=runs")[0]) == 1


def test_a_run_that_comes_into_use_after_the_list_was_made_stays(place, caplog) -> None:
    run_id = place.run("2026-01-01/a")
    lock = place.outputs / "2026-01-01" / "a" / ".lock"
    lock.touch()
    age(lock.parent)
    removals, tracking = place.plan("clean=runs")
    with FileLock(lock):
        assert carry_out(removals, tracking) == 0
    assert place.store.client().get_run(run_id).info.lifecycle_stage == "active"
    assert "came into use and stays" in caplog.text


def test_a_run_that_still_writes_elsewhere_is_in_use_and_one_that_was_killed_is_not(place) -> None:
    place.run("2026-01-01/a", status="RUNNING")
    assert [r.item.state for r in place.plan("clean=runs")[0]] == ["unfinished"]
    (place.outputs / "2026-01-01" / "a" / "metrics.csv").write_text("just now")
    assert place.plan("clean=runs")[0] == []


def test_what_was_not_sent_to_a_server_yet_stays(place) -> None:
    place.run("2026-01-01/a")
    (place.outputs / "2026-01-01" / "a" / UNSENT_FILE).write_text("{}")
    age(place.outputs)
    assert place.plan("clean=runs")[0] == []


def test_a_run_whose_model_is_registered_stays(place) -> None:
    run_id = place.run("2026-01-01/a")
    client = place.store.client()
    client.create_registered_model("chest")
    client.create_model_version("chest", f"runs:/{run_id}/model", run_id=run_id)
    assert place.plan("clean=runs")[0] == []


def test_only_what_is_old_goes(place) -> None:
    place.run("2026-01-01/a")
    assert len(place.plan("clean=runs", "older_than=99d")[0]) == 1
    assert place.plan("clean=runs", "older_than=101d")[0] == []


def test_a_run_that_was_deleted_in_mlflow_is_an_orphan_once_its_folder_is_gone(place) -> None:
    run_id = place.run("2026-01-01/a")
    kept = place.run("2026-01-01/b")
    for name in "ab":
        shutil.rmtree(place.outputs / "2026-01-01" / name)
    place.store.client().delete_run(run_id)
    removals, tracking = place.plan("clean=orphans")
    assert [r.item.path for r in removals] == [place.artifacts(run_id)]
    carry_out(removals, tracking)
    with pytest.raises(MlflowException):
        place.store.client().get_run(run_id)
    assert place.store.client().get_run(kept)
    assert place.artifacts(kept).exists()


def test_artifacts_without_a_run_are_orphans_unless_they_are_new(place) -> None:
    old, new, strange = (
        place.artifacts("a" * 32),
        place.artifacts("b" * 32),
        place.artifacts("mine"),
    )
    for folder in (old, new, strange):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    age(old)
    age(strange)
    assert [r.item.path for r in place.plan("clean=orphans")[0]] == [old]


def test_a_sweep_goes_as_a_whole_and_its_trials_not_alone(place) -> None:
    ids = [place.run(f"sweeps/grid/{number}") for number in range(2)]
    folder = place.outputs / "sweeps" / "grid"
    parent = place.store.client().create_run("1").info.run_id
    place.store.client().set_terminated(parent, "FINISHED")
    Sweep(
        name="grid", session="", kind="grid", parent=parent, fixed=(), varies=(), objective=(),
        direction=(), space={}, prune=False,
    ).write(folder)  # fmt: skip
    age(folder)
    assert place.plan("clean=runs")[0] == []
    removals, tracking = place.plan("clean=sweeps", "runs=[grid]")
    assert set(removals[0].item.run_ids) == {parent, *ids}
    carry_out(removals, tracking)
    assert not folder.exists()
    assert place.store.client().search_runs(["1"]) == []


@pytest.mark.parametrize("name", ["nothing", "2026"])
def test_a_name_that_means_nothing_or_several_is_refused(place, name: str) -> None:
    place.run("2026-01-01/a")
    with pytest.raises(UserError, match=f"runs={name}: nothing is called so"):
        place.plan("clean=runs", f"runs=['{name}']")


def test_a_cache_that_is_being_written_stays(place) -> None:
    cache(place, "images/a", "features/b")
    with FileLock(place.cache / "images" / "a" / "lock"):
        (removal,) = place.plan("clean=caches")[0]
    assert removal.item.path == place.cache / "features" / "b"


def test_a_cache_that_a_process_has_mapped_stays(place) -> None:
    cache(place, "images/a")
    mapped = np.memmap(place.cache / "images" / "a" / "pixels.u8", np.uint8, "r")
    assert place.plan("clean=caches")[0] == []
    del mapped
    assert len(place.plan("clean=caches")[0]) == 1


def test_no_link_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    (outside / "run").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    with pytest.raises(UserError, match="link leads out"):
        remove(Part(root / "link" / "run", root, 0))
    with pytest.raises(UserError, match="link leads out"):
        remove(Part(root / ".." / "outside", root, 0))
    with pytest.raises(UserError, match="link leads out"):
        remove(Part(root, root, 0))
    remove(Part(root / "link", root, 0))
    assert (outside / "run").exists()
    assert not (root / "link").exists()


def test_a_root_that_is_itself_a_link_to_a_larger_disk_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "large" / "run").mkdir(parents=True)
    (tmp_path / "outputs").symlink_to(tmp_path / "large")
    remove(Part(tmp_path / "outputs" / "run", tmp_path / "outputs", 0))
    assert not (tmp_path / "large" / "run").exists()
