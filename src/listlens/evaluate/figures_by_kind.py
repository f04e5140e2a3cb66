"""All figures of a report by name, and those that only trees or only scores have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup

from listlens.evaluate.charts import (
    Axis,
    column,
    dot,
    hexagons,
    line,
    number_axis,
    plot,
    share_axis,
    whisker,
)
from listlens.evaluate.figures import coverage_figure, learning_figure, reliability_figure
from listlens.evaluate.hierarchy import Hierarchy
from listlens.evaluate.learning_curve import LearningCurve
from listlens.evaluate.scores import AnyEvaluation, ScoreEvaluation
from listlens.metrics.hierarchy import BackoffPoint

FEW_POINTS = 250
"""Up to this many photos are drawn one by one; more are drawn as hexagons."""

WORST_SHOWN = 0.3
"""Errors above this are left out of the back-off figures: nobody allows so many."""

N_COLUMNS = 30


FIGURES = (
    "coverage", "reliability", "depth", "answered", "scatter", "spread", "means", "learning"
)  # fmt: skip
"""Names of all figures; each report has those that its kind of task gives."""


def drawn(e: AnyEvaluation | None, curve: LearningCurve | None) -> dict[str, Markup]:
    """Draw what there is to draw, by the names of `FIGURES`."""
    found: dict[str, Markup] = {}
    if isinstance(e, ScoreEvaluation):
        found |= {
            "scatter": scatter_figure(e),
            "spread": spread_figure(e),
            "means": means_figure(e),
        }
    elif e is not None:
        if e.bins:
            found["coverage"] = coverage_figure(e.coverage)
            found["reliability"] = reliability_figure(e.bins)
        if e.hierarchy is not None:
            found["depth"] = depth_figure(e.hierarchy)
            found["answered"] = answered_figure(e.hierarchy)
    if curve is not None and len(curve.points) >= 2:
        found["learning"] = learning_figure(curve)
    return found


def depth_figure(h: Hierarchy) -> Markup:
    """How deep answers go for the share of them that is wrong."""
    ticks = tuple((float(i), str(i)) for i in range(h.n_levels + 1))
    y = Axis(0.0, float(h.n_levels), ticks, "levels deep (no answer: 0)")
    d = h.decided
    now = None if d.mean_depth_all is None else d.mean_depth_all.value
    label = "Back-off: "
    label += ", ".join(
        f"with {100 * error:.0f} % wrong {p.mean_depth_all:.1f} levels deep"
        for error, p in h.at_error
        if p is not None
    )
    return _against_error(h, y, lambda p: p.mean_depth_all, now, f"{label}.")


def answered_figure(h: Hierarchy) -> Markup:
    """The share of photos that get any answer, for the share of answers that is wrong."""
    d = h.decided
    now = None if d.answered is None else d.answered.value
    label = ", ".join(
        f"with {100 * error:.0f} % wrong {100 * p.answered:.0f} % of the photos"
        for error, p in h.at_error
        if p is not None
    )
    y = share_axis("photos with an answer")
    return _against_error(h, y, lambda p: p.answered, now, f"Answered at any depth: {label}.")


def _against_error(
    h: Hierarchy, y: Axis, value: Callable[[BackoffPoint], float], now: float | None, label: str
) -> Markup:
    shown = [p for p in h.curve if p.error <= WORST_SHOWN] or list(h.curve[:1])
    x = share_axis("of the answers, wrong", max(0.02, *(p.error for p in shown)))
    marks = [line(x, y, [(p.error, value(p)) for p in shown])]
    error = h.decided.error
    if now is not None and error is not None and error.value <= x.high:
        title = f"as set: {100 * error.value:.1f} % wrong"
        marks.append(dot(x, y, error.value, now, title, 5))
    return plot(x, y, marks, label)


def scatter_figure(e: ScoreEvaluation) -> Markup:
    """Given mean against predicted mean, photo by photo or in hexagons."""
    values = np.concatenate([e.predicted_means, e.given_means])
    low, high = float(values.min()), float(values.max())
    x, y = number_axis("predicted mean", low, high), number_axis("mean that people gave", low, high)
    points = list(zip(e.predicted_means.tolist(), e.given_means.tolist(), strict=True))
    marks = [line(x, y, [(x.low, x.low), (x.high, x.high)], "ideal")]
    if len(points) <= FEW_POINTS:
        marks += [dot(x, y, a, b, f"predicted {a:.2f}, given {b:.2f}", 2.2) for a, b in points]
    else:
        marks += hexagons(x, y, points)
    order = "none" if e.srcc is None else f"{e.srcc.value:.2f}"
    label = f"Predicted against given means of {e.n:,} photos; rank correlation {order}."
    return plot(x, y, marks, label)


def spread_figure(e: ScoreEvaluation) -> Markup:
    """How many photos have which mean: predicted as bars, given as a line."""
    values = np.concatenate([e.predicted_means, e.given_means])
    x = number_axis(
        "mean score", max(e.scale[0], float(values.min())), min(e.scale[-1], float(values.max()))
    )
    edges = np.linspace(x.low, x.high, N_COLUMNS + 1)
    said, told = (np.histogram(v, edges)[0] / e.n for v in (e.predicted_means, e.given_means))
    y = share_axis("photos", float(max(said.max(), told.max())))
    marks = [
        column(x, y, a, b, float(share), f"{a:.2f} to {b:.2f}: {round(share * e.n):,} photos")
        for a, b, share in zip(edges[:-1], edges[1:], said, strict=True)
        if share
    ]
    steps = [(float(at), float(s)) for k, s in enumerate(told) for at in edges[k : k + 2]]
    marks.append(line(x, y, steps))
    low, high = np.percentile(e.predicted_means, [5, 95])
    label = f"Predicted means: 90 % of the photos lie between {low:.2f} and {high:.2f}."
    return plot(x, y, marks, label)


def means_figure(e: ScoreEvaluation) -> Markup:
    """Calibration of the mean: groups of photos alike in prediction, and what people gave them."""
    there = [(b, b.given) for b in e.bins if b.given is not None]
    ends = [v for b, g in there for v in (b.predicted, g.low, g.high)]
    x = number_axis("predicted mean", min(ends), max(ends))
    y = number_axis("mean that people gave", min(ends), max(ends))
    marks = [line(x, y, [(x.low, x.low), (x.high, x.high)], "ideal")]
    for b, given in there:
        title = f"{b.n:,} photos: predicted {b.predicted:.2f}, given {given.value:.2f}"
        marks += [whisker(x, y, b.predicted, given.low, given.high)]
        marks += [dot(x, y, b.predicted, given.value, title, 4)]
    first, last = there[0], there[-1]
    label = (
        f"Calibration: predicted {first[0].predicted:.2f}, given {first[1].value:.2f}, up to "
        f"predicted {last[0].predicted:.2f}, given {last[1].value:.2f}."
    )
    return plot(x, y, marks, label)
