"""The page itself: what it tells, that it stands alone, and that nothing in it is markup."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.browser import browse

from cxrlab.data.audit.findings import Finding
from cxrlab.errors import UserError
from cxrlab.report.report import title, write_report
from cxrlab.task import Task

EVIL = """<script>alert("1")</script>'&amp;""" + 60 * "x"
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Edema", "Mass", "Nodule", "Fracture"))


def html_of(folder: Path, **tags: str) -> str:
    return write_report(folder, run_id="run-1", tags=tags).read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """What a reader reads: no styles, no tags, one space between words."""
    bare = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)
    return " ".join(bare.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").split())


@pytest.fixture(scope="module")
def page(written) -> Path:
    return write_report(written.folder, run_id="run-1", tags={"cxrlab.device": "an H100"})


@pytest.fixture(scope="module")
def evil_page(make_run) -> Path:
    """A run in which whatever can be named is named like markup."""
    finding = Finding(f"check {EVIL}", "fatal", 1, f"message {EVIL}", [])
    shortcut = {"feature": EVIL, "class": EVIL, "auroc": 0.9, "low": 0.8, "high": 1.0}
    written = make_run(
        Task.exclusive(("NORMAL", EVIL)),
        shift=2.0,
        findings=[finding, Finding("shortcut_border", "warning", 1, EVIL, [shortcut])],
        prefix=EVIL,
        groups=(EVIL, "F"),
        overrides=("data=csv", "data.table=t.csv", f"tracking.experiment='{EVIL[:8]}'"),
    )
    for file in list((written.folder / "figures").glob("roc.png")):
        shutil.copy(file, file.with_name("<b>&'.png"))
    tags = {"cxrlab.weights": EVIL, "cxrlab.command": EVIL, "cxrlab.data_fingerprint": EVIL}
    return write_report(written.folder, run_id=EVIL, tags=tags)


def test_it_stands_beside_what_it_tells_of(written, page: Path) -> None:
    assert page == written.folder / "report.html"


def test_the_verdict_counts_what_the_table_of_predictions_counts(written, page: Path) -> None:
    table = written.evaluation.tables["test"]
    ill, called = table["target"] == 1, table["decision"] == 1
    text = text_of(page.read_text(encoding="utf-8"))
    assert (
        f"On test the model finds {(ill & called).sum()} of {ill.sum()} PNEUMONIA images and calls "
        f"{(~ill & called).sum()} of {(~ill).sum()} NORMAL images PNEUMONIA: the ranking is good"
    ) in text
    assert "but the threshold chosen on validation does not fit test" in text
    assert "NORMAL images of test score higher than those of validation" in text


def test_all_sections_stand_in_their_order(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    order = re.findall(r'<h2 id="(\w+)">', html)
    assert order == [
        "data", "audit", "training", "metrics", "operating", "figures", "calibration",
        "subgroups", "predictive", "explanations", "failures", "configuration", "provenance",
        "use", "claim",
    ]  # fmt: skip
    assert html.index('id="verdict"') < html.index('<h2 id="data">')


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    sources = re.findall(r'\bsrc="([^"]*)"', html)
    assert len(sources) == 10
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "<link" not in html


def test_every_link_leads_to_a_section(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    links = re.findall(r'\bhref="([^"]*)"', html)
    assert len(links) > 20
    ids = set(re.findall(r'\bid="([^"]*)"', html))
    assert {link.removeprefix("#") for link in links} <= ids


def test_the_table_of_claim_has_44_items_each_with_a_status(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    items = re.findall(r'data-item="(\d+)" data-status="(\w+)"', html)
    assert [int(number) for number, _ in items] == list(range(1, 45))
    counts = {
        status: [s for _, s in items].count(status) for status in ("filled", "partly", "authors")
    }
    assert sum(counts.values()) == 44
    assert f"{counts['filled']} of 44 are filled here, {counts['partly']} partly" in text_of(html)


class Marks(HTMLParser):
    """Names of all tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_names_are_text_and_never_markup(page: Path, evil_page: Path) -> None:
    plain, evil = (Marks(file.read_text(encoding="utf-8")) for file in (page, evil_page))
    # The subgroups and probes that the other page lacks bring no tag of their own.
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    html = evil_page.read_text(encoding="utf-8")
    assert EVIL not in html
    for told in ("message", "check", "On test the model finds", "Title"):
        assert told in text_of(html)
    assert html.count("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&#39;&amp;amp;") > 20


@pytest.mark.browser
@pytest.mark.parametrize("name", ["page", "evil_page"])
def test_the_page_fits_every_screen_and_is_quiet(name: str, request) -> None:
    file: Path = request.getfixturevalue(name)
    said: list[str] = []
    with browse(width=1280, height=900) as tab:
        tab.on("console", lambda message: said.append(message.text))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto(file.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (1280, 760, 400, 320):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            flow = ".narrow-flow" if width < 700 else ".wide-flow"
            assert tab.locator(".flow:visible").count() == 1
            assert tab.locator(flow).is_visible()
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert tab.evaluate(broken) == 0
        assert tab.locator("script").count() == 0
    assert said == []


@pytest.mark.browser
def test_it_is_dark_where_the_reader_wants_it_dark_and_white_on_paper(page: Path) -> None:
    with browse(width=1280, height=900) as tab:
        ground = "getComputedStyle(document.body).backgroundColor"
        tab.goto(page.as_uri())
        light = tab.evaluate(ground)
        tab.emulate_media(color_scheme="dark")
        assert tab.evaluate(ground) == "rgb(20, 24, 27)"
        tab.emulate_media(color_scheme="light", media="print")
        assert tab.evaluate(ground) == "rgb(255, 255, 255)" != light
        assert not tab.locator("nav").is_visible()


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("task", [THREE, FINDINGS], ids=["three", "findings"])
def test_more_classes_and_several_findings(make_run, task: Task, split: str) -> None:
    written = make_run(task, test=split == "test")
    text = text_of(html_of(written.folder))
    for name in task.classes:
        assert name in text
    heading = "Each class against the rest" if task is THREE else "Each finding"
    assert f"{heading}, {'test' if split == 'test' else 'validation'}" in text
    metrics = written.evaluation.metrics[split]
    assert f"{metrics.values[f'auroc_{task.classes[1]}']:.3f}" in text
    if task is THREE:
        right = int(metrics.values["accuracy"] * metrics.values["n"] + 0.5)
        assert f"puts {right} of {int(metrics.values['n'])} images in the right class" in text
        assert "The most probable class is decided for" in text
    assert ("Test was not read" in text) == (split == "val")


def test_a_run_that_never_read_test_says_so_and_shows_validation(make_run) -> None:
    written = make_run(test=False)
    html = html_of(written.folder)
    text = text_of(html)
    assert "test was not read, so nothing is known of the threshold chosen on validation" in text
    assert "not read in this run" in text
    assert "can't be compared: only validation was evaluated" in text
    assert 'alt="ROC curve"' in html


MISSING = {
    "data/audit.json": "The run kept no audit of its data",
    "data/manifest.csv": "The dataset has no columns to report by",
    "metrics.csv": "The run kept no metrics.csv",
    "config": "The run kept no configuration",
    "figures": "The run's folder holds no figures",
    "explanations": "No gallery of cases was drawn",
    "evaluation/subgroups_test.csv": "This run measured no subgroups",
    "evaluation/predictive_values_test.csv": "This run did not compute them",
}


def remove(folder: Path, part: str) -> None:
    """A folder, or a file with those of the other splits."""
    path = folder / part
    if path.is_dir():
        shutil.rmtree(path)
    for file in path.parent.glob(path.name.replace("test", "*")):
        file.unlink()


@pytest.mark.parametrize("part", MISSING)
def test_what_is_missing_is_left_out_and_told(copied, part: str) -> None:
    assert MISSING[part] not in text_of(html_of(copied.folder))
    remove(copied.folder, part)
    html = html_of(copied.folder)
    assert MISSING[part] in text_of(html)
    assert len(re.findall(r"data-status=", html)) == 44


def test_nothing_but_the_evaluation_is_enough(copied) -> None:
    for part in MISSING:
        remove(copied.folder, part)
    html = html_of(copied.folder)
    assert "This run explained no decision" in text_of(html)
    assert "This run measured no subgroups" in text_of(html)
    assert html.count('data-status="authors"') > 25


def test_subgroups_are_shown_with_what_is_small_or_absent(copied) -> None:
    pd.DataFrame(
        {
            "column": ["pathogen"] * 2,
            "group": ["NA", "virus"],
            "images": [40, 12],
            "patients": [20, 6],
            "positives": [20, 12],
            "auroc": [0.91, 0.87],
            "auroc_low": [0.81, np.nan],
            "auroc_high": [0.97, np.nan],
            "specificity": [0.75, np.nan],
            "specificity_low": [0.6, np.nan],
            "specificity_high": [0.9, np.nan],
            "small": [False, True],
            "against": ["own group", "all NORMAL"],
            "absent": ["", "specificity: no image is NORMAL"],
        }
    ).to_csv(copied.folder / "evaluation/subgroups_test.csv", index=False)
    text = text_of(html_of(copied.folder))
    assert "pathogen NA 40 20 patients 20 0.910 0.810 to 0.970 0.750 0.600 to 0.900" in text
    assert "virus * 12 6 patients 12 0.870 – " in text  # noqa: RUF001
    assert "pathogen virus: AUROC is against all NORMAL" in text
    assert "specificity: no image is NORMAL." in text


def test_absent_metrics_stand_with_their_reason(make_run) -> None:
    written = make_run(sizes={"train": 40, "val": 60, "test": 2}, overrides=("threshold=0.5",))
    text = text_of(html_of(written.folder))
    assert "the ranking can't be judged, because no image is PNEUMONIA" in text
    assert "No AUROC" in text
    assert "auroc, auprc, recall" in text
    assert "because no image is PNEUMONIA." in text


def test_what_only_tags_hold_is_told_or_said_to_be_missing(copied) -> None:
    text = text_of(html_of(copied.folder))
    assert "Device not kept in the run's folder" in text
    text = text_of(
        html_of(copied.folder, **{"cxrlab.device": "an H100", "cxrlab.weights": "random"})
    )
    assert "Device an H100" in text
    assert "Weights at the start random" in text
    assert "Commit abc1234" in text


DAMAGED = {
    "config/config.yaml": "a: [",
    "config/overrides.yaml": "a: 1",
    "data/audit.json": '{"images": 3}',
    "data/manifest.csv": "path,label\na,b\n",
    "metrics.csv": "name,step\na,1\n",
    "figures/roc.png": "no picture",
    "evaluation/results.json": "{",
    "evaluation/subgroups_test.csv": "group\nF\n",
    "evaluation/predictive_values_test.csv": "point\n0.5\n",
}


@pytest.mark.parametrize("file", DAMAGED)
def test_a_damaged_file_is_named_in_one_line(copied, file: str) -> None:
    (copied.folder / file).write_text(DAMAGED[file])
    with pytest.raises(UserError, match=re.escape(file)) as error:
        write_report(copied.folder, run_id=None)
    assert "\n" not in str(error.value)
    assert not (copied.folder / "report.html").exists()


def test_a_run_that_has_not_finished_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has not finished"):
        write_report(tmp_path, run_id=None)


def test_the_heading_names_what_is_told_apart() -> None:
    assert title(Task.exclusive(("A", "B"))) == "B against A"
    assert title(THREE) == "NORMAL, BACTERIA, VIRUS"
    assert title(FINDINGS) == "Edema, Mass, Nodule and 1 more"
