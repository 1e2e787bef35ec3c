import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cxrlab.explanation import figures, maps
from cxrlab.explanation.maps import ColourScale

SCALE = ColourScale(signed=1.0, absolute=1.0, sigma=2.0)
LONG = "person1946_bacteria_$4874$_" + "w" * 150 + ".jpeg"


def case_of(size: int = 32, **changes) -> figures.Case:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (size, size), dtype=np.uint8)
    attribution = random.normal(size=(size, size)).astype(np.float32)
    known = {
        "strip": maps.paint(image[None], attribution[None])[0][0],
        "name": "a.png",
        "facts": "true NORMAL   p(PNEUMONIA) 0.100 → NORMAL (threshold 0.5)",
        "completeness_error": 0.012,
    }
    return figures.Case(**(known | changes))


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def pixels_of(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("count", [2, 3])
def test_long_texts_stay_inside_and_apart(count: int):
    long = case_of(name=LONG, facts="W" * 300, completeness_error=0.3, doubtful=True)
    figure = figures.draw_gallery([long] * count, "false_negatives", SCALE, "method")
    canvas = FigureCanvasAgg(figure)
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.texts]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_images_are_drawn_dot_for_dot():
    case = case_of(size=32)
    pixels = pixels_of(figures.draw_gallery([case], "true_positives", SCALE, "method"))
    # 224 dots for 32 pixels.
    enlarged = np.kron(case.strip[:, :32, 0], np.ones((7, 7), dtype=np.uint8))
    rows, columns = np.argwhere(found_at(pixels[..., 0], enlarged))[0]
    shown = pixels[rows : rows + 224, columns : columns + 224]
    assert (shown == enlarged[..., None]).all()


def found_at(pixels: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Where the patch's first row starts."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, patch.shape[1], axis=1)
    return (windows == patch[0]).all(axis=-1)


def test_completeness_is_marked_when_it_fails():
    cases = [
        case_of(),
        case_of(completeness_error=0.3, doubtful=True),
        case_of(completeness_error=np.inf, doubtful=True),
        case_of(completeness_error=np.nan),
    ]
    texts = texts_of(figures.draw_panel(cases, 3, SCALE, "integrated_gradients"))
    assert "completeness error 1.20%" in texts
    assert "▲ completeness error 30.00%: above tolerance" in texts
    assert "▲ not finite: there is no map" in texts
    assert "completeness does not apply" in texts
    assert "Validation panel after epoch 3" in texts


def test_the_lesion_is_outlined_beside_the_undisturbed_image():
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 8:20] = True
    plain = pixels_of(figures.draw_gallery([case_of()], "true_positives", SCALE, "method"))
    outlined = pixels_of(
        figures.draw_gallery([case_of(mask=mask)], "true_positives", SCALE, "method")
    )
    height, width = plain.shape[0], plain.shape[1]
    changed = (plain != outlined).any(axis=-1)[: int(0.75 * height)]
    third = width // 3
    assert not changed[:, : third - 10].any()
    assert changed[:, third : 2 * third].any()
    assert changed[:, 2 * third :].any()


def test_legend_states_unit_scale_and_smoothing():
    figure = figures.draw_gallery([case_of()], "true_positives", SCALE, "integrated_gradients")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "middle: contribution to the logit per pixel" in titles
    assert "right: its absolute value, Gaussian average, σ = 2 px" in titles  # noqa: RUF001
    assert any("99.5th percentile" in text for text in texts_of(figure))


@pytest.mark.parametrize("length", [5, 10, 30])
def test_shorten_keeps_both_ends(length: int):
    text = "abcdefghijklmnopqrstuvwxyz.jpeg"
    short = figures.shorten(text, length)
    assert len(short) == min(length, len(text))
    assert short[:2] == "ab"
    assert short[-2:] == "eg"
    assert figures.shorten("same", 4) == "same"
