"""The learning curve's picture, where the curve has an extreme shape."""

from __future__ import annotations

import re

import pytest

from listlens.evaluate.figures import learning_figure
from listlens.evaluate.learning_curve import CurvePoint, LearningCurve


@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.0, 1.0)])
def test_a_curve_without_a_slope_is_drawn_inside_its_frame(values: tuple[float, ...]) -> None:
    points = tuple(CurvePoint(10 * (i + 1), v, v, v, 3) for i, v in enumerate(values))
    svg = str(learning_figure(LearningCurve("accuracy", points, (), "hardly", "")))
    heights = [float(y) for y in re.findall(r"[\d.]+,([\d.-]+)", svg)]
    assert heights
    assert all(0 <= y <= 400 for y in heights)
    assert "nan" not in svg
