"""What a user looks for in the MLflow UI, checked in a real browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.tracking.views import RUNS_VIEW, VIEW_QUERY

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# The page opens its panel for questions to a language model the first time, unless told that it
# has; and it lists training runs only in this mode.
STORAGE = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.workflowType_v1": '"machine_learning"',
}
# A run has one colour, and of some lines a second, faint one.
_COLOURS = (
    "card => new Set([...card.querySelectorAll('path.js-line')].map(l => l.style.stroke)).size"
)
_LOADED = "images => images.length > 0 && images.every(i => i.complete && i.naturalWidth > 0)"


def check_runs_table(page: Page, url: str, experiment: str, names: Sequence[str]) -> None:
    """The experiment's table lists the runs."""
    page.goto(f"{url}/#/experiments/{experiment}/runs")
    for name in names:
        page.get_by_role("link", name=name, exact=True).first.wait_for()


def check_view(page: Page, url: str, experiment: str, names: Sequence[str]) -> None:
    """The view of runs has the runs and the columns that matter, without set-up."""
    page.goto(_view(url, experiment))
    for name in names:
        page.get_by_role("link", name=name, exact=True).first.wait_for()
    for column in ("val/auroc", "test/auroc", "test/auroc_low"):
        page.get_by_role("columnheader", name=column, exact=True).first.wait_for()


def check_comparison(
    page: Page, url: str, experiment: str, search: str, names: Sequence[str], metric: str
) -> None:
    """The view of runs draws the metric of the runs that the search finds, a line each."""
    page.goto(f"{_view(url, experiment)}&compareRunsMode=CHART")
    box = page.get_by_test_id("search-box")
    box.fill(search)
    box.press("Enter")
    for name in names:
        page.get_by_role("link", name=name, exact=True).first.wait_for()
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(
        has=page.get_by_text(metric, exact=True)
    )
    card.locator("path.js-line").first.wait_for(state="attached")
    page.wait_for_function(
        f"([card, runs]) => ({_COLOURS})(card) === runs",
        arg=[card.first.element_handle(), len(names)],
    )


def check_children(
    page: Page, url: str, experiment: str, parent: str, children: Sequence[str]
) -> None:
    """The view of runs hides a sweep's trials until its arrow is clicked."""
    page.goto(_view(url, experiment))
    row = page.locator(".ag-pinned-left-cols-container [role=row]", has_text=parent)
    row.first.wait_for()
    assert not page.get_by_role("link", name=children[0], exact=True).count()
    row.get_by_role("button").first.click()
    for name in children:
        page.get_by_role("link", name=name, exact=True).first.wait_for()


def _view(url: str, experiment: str) -> str:
    return f"{url}/#/experiments/{experiment}/runs?{VIEW_QUERY}={RUNS_VIEW}"


def check_overview(page: Page, url: str, experiment: str, run: str, texts: Sequence[str]) -> None:
    """The run's first page shows these texts: status, metrics, params, datasets, tags."""
    page.goto(f"{url}/#/experiments/{experiment}/runs/{run}")
    for text in texts:
        page.get_by_text(text).first.wait_for()


def check_chart(page: Page, url: str, experiment: str, run: str, metric: str) -> None:
    """The metric has a chart, and the chart has a line or a bar."""
    page.goto(f"{url}/#/experiments/{experiment}/runs/{run}/model-metrics")
    page.reload()  # forget the last search
    page.get_by_placeholder("Search metric charts").fill(f"^{metric}$")
    title = page.get_by_text(metric.rpartition("/")[2], exact=True).last
    _scroll_to(title)  # a chart is drawn when it comes into view
    chart = page.locator("div", has=title).locator(".js-plotly-plot").last
    chart.locator("path.js-line, .bars path").first.wait_for(state="attached")


def _scroll_to(place: Locator) -> None:
    """Scroll there, again if the page was drawn anew meanwhile."""
    from playwright.sync_api import Error

    for attempt in range(10):
        try:
            place.scroll_into_view_if_needed()
        except Error:
            if attempt == 9:
                raise
            place.page.wait_for_timeout(500)
        else:
            return


def check_image_grid(page: Page, url: str, experiment: str, run: str, key: str) -> None:
    """The image series of that key shows its picture and a slider over the steps."""
    page.goto(f"{url}/#/experiments/{experiment}/runs/{run}/model-metrics")
    _scroll_to(page.get_by_text(key, exact=True).first)
    images = "img[src*='get-artifact?path=images']"
    page.locator(images).first.wait_for()
    page.wait_for_function(f'({_LOADED})([...document.querySelectorAll("{images}")])')
    page.get_by_role("slider").first.wait_for()


def check_artifact(page: Page, url: str, experiment: str, run: str, path: str) -> None:
    """The artifact is in the tree of folders, and its preview opens; pictures are decoded."""
    page.goto(f"{url}/#/experiments/{experiment}/runs/{run}/artifacts")
    for part in Path(path).parts:
        page.get_by_text(part, exact=True).first.click()
    page.get_by_text(f"artifacts/{path}").first.wait_for()
    if path.endswith(".png"):
        page.locator("img").first.wait_for()
        page.wait_for_function(f"({_LOADED})([...document.querySelectorAll('img')])")
