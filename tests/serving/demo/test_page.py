"""The page in a browser, at a desktop's width and a phone's."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.browser import browse, free_port, running
from playwright.sync_api import Page, expect

from cxrlab.layout import BEST
from cxrlab.serving.gate import Gate

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)>.jpeg"


@pytest.fixture(scope="module")
def url(trained_run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "cxrlab.demo", f"run={trained_run.output}", f"port={port}"]
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    address = f"http://127.0.0.1:{port}"
    with running(command, {**os.environ, "OMP_NUM_THREADS": "1"}, address, log):
        yield address


@pytest.fixture
def refusing(trained_run, tmp_path: Path) -> Iterator[str]:
    """The address of a demo whose run lets no image through."""
    nothing = np.zeros(256, np.float32)
    gate = Gate(nothing, nothing[None], nothing[:1] + 1, rest=1.0, limit=1.0, detail=1e9)
    saved = torch.load(trained_run.checkpoint, weights_only=True)
    checkpoint = tmp_path / "run" / BEST
    checkpoint.parent.mkdir(parents=True)
    torch.save({**saved, "gate": gate.plain()}, checkpoint)
    port = free_port()
    command = [sys.executable, "-m", "cxrlab.demo", f"run={tmp_path / 'run'}", f"port={port}"]
    address = f"http://127.0.0.1:{port}"
    with running(command, {**os.environ, "OMP_NUM_THREADS": "1"}, address, tmp_path / "log"):
        yield address


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, url: str) -> Iterator[Page]:
    width, height = request.param
    with browse(width=width, height=height) as page:
        page.goto(url)
        yield page


def test_files_become_cards(page: Page, files: list[Path], predictor, tmp_path: Path) -> None:
    evil, broken = tmp_path / EVIL, tmp_path / "broken.dcm"
    evil.write_bytes(files[0].read_bytes())
    broken.write_bytes(b"")
    expect(page.get_by_text("Research use only.")).to_be_visible()
    page.set_input_files("#files", [evil, broken])
    good, bad = page.locator(".card").first, page.locator(".card").last
    expect(good.get_by_role("heading")).to_have_text(EVIL)
    expect(bad.locator(".status")).to_have_text("empty file")
    expect(bad.locator(".result")).to_be_hidden()
    expect(good.locator(".meter")).to_be_visible()
    row = predictor.predict([files[0]]).iloc[0]
    shown = float(good.locator(".probability").inner_text())
    assert shown == pytest.approx(row["probability"], abs=1e-3)
    expect(good.locator(".decision")).to_contain_text(("NORMAL", "PNEUMONIA")[row["decision"]])
    expect(good.locator(".threshold")).to_have_text(re.compile("chosen on validation"))
    good.locator("input[type=range]").fill("40")
    expect(good.locator(".layer")).to_have_css("opacity", "0.4")
    drawn = good.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert drawn == [32, 32, 32]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_image_that_the_gate_refuses_gets_a_reason_and_no_number(
    refusing: str, files: list[Path]
) -> None:
    with browse(width=1000, height=800) as page:
        page.goto(refusing)
        expect(page.locator(".research")).to_contain_text("get no number")
        page.set_input_files("#files", [files[0]])
        card = page.locator(".card")
        expect(card.locator(".decision")).to_contain_text("none")
        expect(card.locator(".warnings")).to_have_text("No detail, as no radiograph has.")
        expect(card.locator(".scores")).to_be_empty()
        expect(card.locator(".evidence")).to_have_count(0)


def test_what_can_not_be_sent_is_told_on_its_card(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.dcm"
    with large.open("wb") as file:
        file.truncate(51_000_000)
    page.set_input_files("#files", large)
    expect(page.locator(".status")).to_have_text("larger than 50 MB, the limit")
    page.route("**/predict", lambda route: route.abort())
    small = tmp_path / "small.png"
    small.write_bytes(b"x")
    page.set_input_files("#files", small)
    expect(page.locator(".card").first.locator(".status")).to_have_text(
        "no answer; is the demo still running?"
    )


def test_a_dropped_file_is_taken(page: Page, files: list[Path]) -> None:
    page.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpeg"));
            document.body.dispatchEvent(
                new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(files[0].read_bytes()),
    )
    expect(page.get_by_role("heading", name="dropped.jpeg")).to_be_visible()
    expect(page.locator(".decision")).to_be_visible()
