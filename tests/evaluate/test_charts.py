"""Charts are sound SVG with every mark inside, whatever the numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listlens.core.types import Estimate
from listlens.evaluate.charts import (
    Axis,
    band,
    dot,
    interval_bar,
    line,
    plot,
    share_axis,
    whisker,
)
from listlens.evaluate.coverage import ERROR_BUDGETS, Coverage
from listlens.evaluate.figures import coverage_figure, reliability_figure
from listlens.metrics.calibration import reliability
from listlens.metrics.coverage import coverage_at_error, coverage_curve

SHARE = st.floats(0, 1)
ANSWERS = st.lists(st.tuples(SHARE, st.booleans()), min_size=1, max_size=40)


def parsed(svg) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+\.?\d*", text)]


def assert_inside(root: ElementTree.Element) -> None:
    """Every mark lies within the view box, and no number is none."""
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for element in root.iter():
        for key, text in element.attrib.items():
            assert "nan" not in text
            if key in ("x", "x1", "x2", "cx"):
                assert 0 <= float(text) <= width, (element.tag, key, text)
            if key in ("y", "y1", "y2", "cy"):
                assert 0 <= float(text) <= height, (element.tag, key, text)
            if key == "points":
                for pair in text.split():
                    x, y = map(float, pair.split(","))
                    assert 0 <= x <= width
                    assert 0 <= y <= height


def covered(confidence, wrong, unit="photos", policy=(0.8, 0.1)) -> Coverage:
    decided, error = (Estimate(v, v, v, 10) if v is not None else None for v in policy)
    return Coverage(
        unit,
        coverage_curve(confidence, wrong),
        tuple((e, coverage_at_error(confidence, wrong, e)) for e in ERROR_BUDGETS),
        decided,
        error,
        "best-f1",
    )


@settings(max_examples=80, deadline=None)
@given(ANSWERS)
def test_reliability_is_drawn_for_any_answers(rows):
    bins = reliability([p for p, _ in rows], [r for _, r in rows])
    root = parsed(reliability_figure(bins))
    assert_inside(root)
    dots = [e for e in root.iter() if e.tag == "circle"]
    assert len(dots) == len(bins) == len([e for e in root.iter() if e.get("class") == "whisker"])


@settings(max_examples=80, deadline=None)
@given(ANSWERS, SHARE, SHARE)
def test_coverage_is_drawn_for_any_answers(rows, decided, error):
    figure = coverage_figure(
        covered([p for p, _ in rows], [w for _, w in rows], policy=(decided, error))
    )
    assert_inside(parsed(figure))


@pytest.mark.parametrize("wrong", [[True] * 5, [False] * 5, [True, False] * 3], ids=str)
@pytest.mark.parametrize("unit", ["photos", "answers"])
def test_no_axis_of_shares_goes_beyond_all(wrong, unit):
    figure = parsed(coverage_figure(covered(np.linspace(0.5, 1, len(wrong)), wrong, unit)))
    shares = [numbers(e.text)[0] for e in figure.iter() if e.text and e.text.endswith(" %")]
    assert max(shares) == 100
    assert f"{unit} decided without a person" in [e.text for e in figure.iter()]


def test_where_nothing_is_decided_alone_no_dot_is_drawn():
    figure = parsed(coverage_figure(covered([0.5, 0.6], [True, False], policy=(0.0, None))))
    assert not [e for e in figure.iter() if e.tag == "circle"]


@settings(max_examples=100)
@given(st.floats(1e-4, 1.0))
@example(0.5000116437147768)
def test_an_axis_holds_its_highest_share_and_few_ticks(high):
    axis = share_axis("wrong", high)
    assert axis.high >= high - 1e-9
    assert axis.high <= 1.0 + 1e-9
    assert axis.low == 0
    assert 2 <= len(axis.ticks) <= 7
    values = [value for value, _ in axis.ticks]
    assert values == sorted(set(values))
    assert values[-1] == pytest.approx(axis.high)
    texts = [text for _, text in axis.ticks]
    assert len(set(texts)) == len(texts)
    for value, text in axis.ticks:
        assert numbers(text)[0] == pytest.approx(100 * value, abs=0.05)


@given(SHARE, SHARE, SHARE)
def test_a_bar_shows_value_and_interval_within_its_width(a, b, c):
    low, value, high = sorted((a, b, c))
    root = parsed(interval_bar(value, low, high))
    fill, reach = (next(e for e in root if e.get("class") == name) for name in ("fill", "range"))
    assert float(fill.get("width")) == pytest.approx(100 * value, abs=0.06)
    assert float(reach.get("x")) == pytest.approx(100 * low, abs=0.06)
    assert float(reach.get("width")) >= 0.6 - 1e-9  # a certain value is still visible
    assert root.get("aria-hidden") == "true"  # the number beside it is read out instead


HOSTILE = "<script>\"&'</script>"
UNIT = Axis(0, 1, ((0.5, HOSTILE),), HOSTILE)


def test_texts_of_any_kind_are_text():
    marks = [dot(UNIT, UNIT, 0.5, 0.5, HOSTILE), line(UNIT, UNIT, [(0, 0), (1, 1)])]
    root = parsed(plot(UNIT, UNIT, marks, HOSTILE))
    assert root.get("aria-label") == HOSTILE
    assert root.get("role") == "img"
    texts = [e.text for e in root.iter() if e.text]
    assert texts.count(HOSTILE) == 5  # two ticks, two titles, one dot
    assert not [e for e in root.iter() if e.tag == "script"]


def test_larger_values_are_drawn_further_right_and_higher():
    root = parsed(plot(UNIT, UNIT, [dot(UNIT, UNIT, v, v, "") for v in (0.1, 0.5, 0.9)], ""))
    dots = [e for e in root.iter() if e.tag == "circle"]
    xs, ys = ([float(e.get(key)) for e in dots] for key in ("cx", "cy"))
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)


def test_a_band_runs_along_the_top_and_back_along_the_bottom():
    (polygon,) = [
        e for e in parsed(plot(UNIT, UNIT, [band(UNIT, UNIT, [(0, 0.2, 0.4), (1, 0.1, 0.8)])], ""))
        if e.tag == "polygon"
    ]  # fmt: skip
    corners = [tuple(map(float, p.split(","))) for p in polygon.get("points").split()]
    assert len(corners) == 4
    assert corners[0][0] == corners[3][0] < corners[1][0] == corners[2][0]
    assert corners[0][1] < corners[3][1]  # high is above low, and y runs down


def test_a_whisker_stands_upright():
    root = parsed(plot(UNIT, UNIT, [whisker(UNIT, UNIT, 0.3, 0.2, 0.9)], ""))
    (found,) = [e for e in root if e.get("class") == "whisker"]
    assert found.get("x1") == found.get("x2")
    assert float(found.get("y1")) > float(found.get("y2"))


def test_colours_are_the_pages_so_that_paper_and_night_can_have_others():
    svg = str(plot(UNIT, UNIT, [dot(UNIT, UNIT, 0.5, 0.5, "")], ""))
    assert not re.search(r"fill=|stroke=|style=|#[0-9a-f]{3}", svg)
