"""The picture of a retention: what stands where, and that all of it can be read."""

from itertools import combinations

import numpy as np
import pytest

from tf_distilbert.finetuning.retention_picture import Box, place_labels, retention_figure
from tf_distilbert.finetuning.retention_table import summarise

pytest.importorskip("matplotlib", reason="needs the extra `report`")

AREA = Box(50, 50, 50, 50)


def summary_of(number, seed=0, spread=1.0):
    """Some models whose points are close to each other."""
    generator = np.random.default_rng(seed)
    names = ["teacher", *(f"student of {i} layers, int8" for i in range(1, number))]
    scores = {
        name: {"sst2": [0.8 + spread * x for x in generator.normal(0, 0.02, 3)]} for name in names
    }
    facts = {
        name: {"bytes": int(1e8 * x), "text_milliseconds": 20 + 10 * y}
        for name, x, y in zip(names, *generator.random((2, number)), strict=True)
    }
    return summarise(scores, facts)


def test_a_label_stands_beside_its_marker_unless_something_is_there():
    [label] = place_labels([Box(20, 50, 2, 2)], [(10, 4)], AREA)
    assert label == Box(20 + 2 + 3 + 5, 50, 5, 2)
    [label] = place_labels([Box(95, 50, 2, 2)], [(10, 4)], AREA)  # no room at its right
    assert label.x < 95 and label.y == 50
    first, second = place_labels([Box(20, 50, 2, 2), Box(24, 50, 2, 2)], [(10, 4)] * 2, AREA)
    assert first.overlap(second) == 0 and first.overlap(Box(24, 50, 2, 2)) == 0
    assert Box(0, 0, 2, 1).overlap(Box(3, 1, 2, 1)) == 1.0  # 1 wide, 1 high


@pytest.mark.parametrize("number", [2, 6, 12])
@pytest.mark.parametrize("seed", range(2))
def test_every_model_has_a_labelled_point_and_no_label_covers_another(number, seed):
    from matplotlib.text import Text

    summary = summary_of(number, seed)
    figure = retention_figure(summary)
    figure.draw_without_rendering()
    above, _ = figure.axes
    assert [text.get_text() for text in above.texts] == [
        f"{name}, {model['bytes'] / 1e6:.1f} MB" for name, model in summary["models"].items()
    ]
    boxes = [Text.get_window_extent(text) for text in above.texts]  # without its line
    inside = above.get_window_extent()
    for box in boxes:
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    points = np.concatenate([marker.get_offsets() for marker in above.collections])
    areas = [marker.get_sizes()[0] for marker in above.collections]
    models = summary["models"].values()
    expected = [(m["text_milliseconds"], m["macro_score"]) for m in models]
    np.testing.assert_allclose(points, expected)
    shares = [max(15, 500 * m["bytes"] / max(n["bytes"] for n in models)) for m in models]
    assert areas == pytest.approx(shares)
    assert above.get_xlim()[0] == 0


def test_bars_of_many_models_differ_in_more_than_colour():
    _, below = retention_figure(summary_of(12)).axes
    looks = {
        (bars[0].get_facecolor(), bars[0].get_hatch())
        for bars in below.containers
        if hasattr(bars, "patches")
    }
    assert len(looks) == 12


def test_a_summary_without_latencies_has_its_tasks_alone():
    scores = {"teacher": {"sst2": [0.9, 0.8]}, "student": {"sst2": [0.8, 0.7]}}
    [below] = retention_figure(summarise(scores, {})).axes
    bars = [patch.get_height() for patch in below.patches]
    assert bars == pytest.approx([85, 85, 75, 75])
