"""The report's figures, each from one part of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from listlens.evaluate.charts import Axis, band, dot, line, plot, share_axis, whisker
from listlens.evaluate.coverage import Coverage
from listlens.evaluate.learning_curve import LearningCurve
from listlens.metrics.calibration import Bin


def reliability_figure(bins: Sequence[Bin]) -> Markup:
    """Claimed probability against the share that was right."""
    x, y = share_axis("how sure the model was"), share_axis("how often it was right")
    most = max(b.n for b in bins)
    marks = [line(x, y, [(0, 0), (1, 1)], "ideal")]
    for b in bins:
        text = f"{b.n:,} answers: {100 * b.confidence:.0f} % sure, {100 * b.accuracy:.0f} % right"
        marks.append(whisker(x, y, b.confidence, b.accuracy_low, b.accuracy_high))
        marks.append(dot(x, y, b.confidence, b.accuracy, text, 2.5 + 4 * (b.n / most) ** 0.5))
    low, high = bins[0], bins[-1]
    label = (
        f"Reliability: {len(bins)} groups of answers, from {100 * low.confidence:.0f} % sure "
        f"({100 * low.accuracy:.0f} % right) to {100 * high.confidence:.0f} % sure "
        f"({100 * high.accuracy:.0f} % right)."
    )
    return plot(x, y, marks, label)


def coverage_figure(coverage: Coverage) -> Markup:
    """Error among the answers given without a person, against how many those are."""
    points = [(p.coverage, p.error) for p in coverage.curve]
    worst = max(0.01, *(e for c, e in points if c >= 0.05))
    x = share_axis(f"{coverage.unit} decided without a person")
    y = share_axis("of those, wrong", min(1.0, worst * 1.05))
    shown = [(c, min(e, y.high)) for c, e in points]
    marks = [line(x, y, shown)]
    if coverage.policy_coverage is not None and coverage.policy_error is not None:
        share, error = coverage.policy_coverage.value, coverage.policy_error.value
        text = f"as set: {100 * share:.0f} % decided, {100 * error:.1f} % of those wrong"
        marks.append(dot(x, y, share, min(error, y.high), text, 5))
    label = (
        f"Coverage against error: deciding all {coverage.unit} without a person leaves "
        f"{100 * points[-1][1]:.1f} % wrong."
    )
    return plot(x, y, marks, label)


def learning_figure(curve: LearningCurve) -> Markup:
    """Measured metric by number of labels, and the range of what more may bring."""
    values = [v for p in curve.points for v in (p.low, p.high)]
    values += [v for o in curve.outlook for v in (o.low, o.high)]
    most = max([p.n_labels for p in curve.points] + [o.n_labels for o in curve.outlook])
    step = next(
        s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (max(values) - min(values)) / s <= 5 or s == 0.2
    )
    n_high = min(round(1 / step), int(max(values) / step) + 1)
    n_low = min(int(min(values) / step), n_high - 1)  # all right from the start: still an axis
    counted = curve.metric in ("accuracy", "macro_ap")  # the others are no shares of anything

    def said(value: float, digits: int) -> str:
        return f"{100 * value:.{digits}f} %" if counted else f"{value:.{digits + 2}f}"

    ticks = tuple((i * step, said(i * step, 0)) for i in range(n_low, n_high + 1))
    name = {
        "accuracy": "right",
        "hierarchical_f1": "hierarchical F1",
        "srcc": "rank correlation",
    }.get(curve.metric, "average precision")
    y = Axis(n_low * step, n_high * step, ticks, name)
    now = curve.points[-1]
    ends = sorted({0, now.n_labels, most})
    x = Axis(0, most, tuple((n, f"{n:,}") for n in ends), "labelled photos trained on")
    marks = []
    if curve.outlook:
        fan = [(now.n_labels, now.value, now.value)]
        fan += [(o.n_labels, o.low, o.high) for o in curve.outlook]
        middle = [(now.n_labels, now.value)] + [(o.n_labels, o.value) for o in curve.outlook]
        marks += [band(x, y, fan), line(x, y, middle, "expected")]
    marks.append(line(x, y, [(p.n_labels, p.value) for p in curve.points]))
    for p in curve.points:
        marks.append(whisker(x, y, p.n_labels, p.low, p.high))
        marks.append(dot(x, y, p.n_labels, p.value, f"{p.n_labels:,}: {said(p.value, 1)}"))
    first = curve.points[0]
    label = (
        f"Learning curve: {said(first.value, 1)} with {first.n_labels:,} labelled photos, "
        f"{said(now.value, 1)} with {now.n_labels:,}."
    )
    return plot(x, y, marks, label)
