from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import browse
from helpers.leaks import picture, prepared, sound_table

from cxrlab.data.audit.page import write_page
from cxrlab.data.audit.run import audit
from cxrlab.data.prepare import PreparedData
from cxrlab.task import Task

_EVIL = "<script>alert(1)</script>"


def _faulty() -> PreparedData:
    task = Task.exclusive(["NORMAL", _EVIL])
    table = sound_table(160, task)
    table["path"] = table["path"].str.replace("001", f"001{_EVIL}").str.replace("005", '5"><b>')
    table.loc[4, "patient_id"] = table.loc[1, "patient_id"] = _EVIL
    images = np.stack([picture(i, 64) for i in range(len(table))])
    images[5] = images[1]
    images[9] = 30
    facts = {"width": np.where(table["target"] == 1, 32, 64)}
    bad = {f"{_EVIL}.png": f"reason {_EVIL}"}
    return prepared(table, images, task=task, facts=facts, bad=bad)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "deep" / "audit.html"
    data = _faulty()
    write_page(audit(data), data, file)
    return file


def test_names_are_text_and_never_markup(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert '5"><b>' not in html


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "url(" not in html
    assert "@import" not in html


def test_every_finding_is_told_and_a_pair_is_drawn_side_by_side(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    data = _faulty()
    for finding in audit(data).findings:
        assert f">{finding.check}</span>" in html
    assert html.count("similarity 1.00") >= 1
    assert "mean image of NORMAL" in html


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_screen_and_all_images_load(page: Path, width: int) -> None:
    with browse(width=width, height=900) as tab:
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert tab.evaluate(broken) == 0
