from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.audit.findings import Audit, Finding, SplitSummary
from cxrlab.report.flow import Diagram, draw_flow


def audit_of(classes: dict[str, int], bad: int = 0) -> Audit:
    images = sum(classes.values())
    split = SplitSummary(images, images // 2, classes)
    findings = (Finding("unreadable", "warning", bad, "bad", []),) if bad else ()
    return Audit(3 * images, dict.fromkeys(("train", "val", "test"), split), findings)


def words(diagram: Diagram) -> list[str]:
    return [text.text for text in diagram.texts]


def test_it_counts_what_was_found_and_what_was_left_out() -> None:
    for diagram in draw_flow(audit_of({"NORMAL": 30, "ILL": 10}, bad=3), 50, tested=True):
        told = words(diagram)
        assert "123 image files found" in told
        assert "3 files left out: unreadable" in told
        assert "120 images of 50 patients" in told
        assert told.count("40 images, 20 patients") == 3
        assert told.count("75 %") == told.count("25 %") == 3
        assert "read once, at the end" in told
        assert diagram.label.startswith("123 image files found, 3 files left out: unreadable")


def test_without_patients_or_test_it_says_what_it_knows() -> None:
    told = words(draw_flow(audit_of({"A": 1, "B": 1}), None, tested=False)[0])
    assert "6 images" in told
    assert "none left out" in told
    assert "not read in this run" in told


def test_shares_are_as_long_as_they_are_large() -> None:
    for diagram in draw_flow(audit_of({"NORMAL": 30, "ILL": 10}), 50, tested=True):
        tracks = [r.width for r in diagram.rects if r.style == "track"]
        shares = [r.width for r in diagram.rects if r.style == "share"]
        ratios = [share / track for share, track in zip(shares, tracks, strict=True)]
        assert [round(ratio, 2) for ratio in ratios] == [0.75, 0.25] * 3


def test_many_classes_are_cut_and_counted() -> None:
    told = words(draw_flow(audit_of({f"c{i}": 2 for i in range(14)}), 9, tested=True)[0])
    assert told.count("and 6 more classes") == 3
    assert "c7" in told
    assert "c8" not in told


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=80), st.integers(0, 10**7), min_size=2, max_size=20
    )
)
def test_nothing_leaves_the_drawing(classes: dict[str, int]) -> None:
    for diagram in draw_flow(audit_of(classes), 10**6, tested=True):
        boxes = [rect for rect in diagram.rects if rect.style == "box"]
        for rect in diagram.rects:
            assert rect.x >= 0
            assert rect.x + rect.width <= diagram.width
            assert rect.y + rect.height <= diagram.height
        for text in diagram.texts:
            if text.style == "small" and text.anchor == "start":
                assert len(text.text) * 7.6 < 200
            assert any(b.y <= text.y <= b.y + b.height for b in boxes) or text.style == "soft"
