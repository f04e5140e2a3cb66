"""What would more labels bring? Train on parts of what there is, and extrapolate with care."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Verdict = Literal["helps", "hardly", "unclear"]

FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)
N_REPEATS = 3

HARDLY = 0.1
HARDLY_POINTS = 0.01
"""Twice the labels "hardly help" where they surely remove less than a tenth of the errors and bring
less than one point."""

NEGLIGIBLE = 0.003
"""So does a gain of surely less than this, which no test split of usual size could show."""

UNITS = {
    "accuracy": "points",
    "hierarchical_f1": "points of hierarchical F1",
    "srcc": "points of rank correlation",
}
"""What a gain is counted in, by metric; a point is a hundredth."""

_TIMES = (2, 4)  # how many times today's labels the outlook is for
_RATES = np.linspace(0.05, 1.5, 59)  # how fast errors fall; Rosenfeld 2020 reports 0.2 to 1.1
_FLOORS = np.linspace(0.0, 0.99, 50)  # error that no label removes, as a share of today's


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Mean of a metric over the repeats, trained on `n_labels` photos; low and high of repeats."""

    n_labels: int
    value: float
    low: float
    high: float
    n_repeats: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the fit expects with `n_labels` in total: value and 95 % range."""

    n_labels: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Metric against number of labels.

    Args:
        metric: ``accuracy``, ``macro_ap``, ``hierarchical_f1`` or ``srcc``.
        points: measured, in rising number of labels.
        outlook: extrapolated to 2 and 4 times the labels; empty where nothing can be said.
        verdict: ``helps``, ``hardly`` or ``unclear``.
        message: the same for a person.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    outlook: tuple[Outlook, ...]
    verdict: Verdict
    message: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> LearningCurve:
        """The curve that `as_dict` gave, also by way of JSON."""
        points = tuple(CurvePoint(**point) for point in stored["points"])
        outlook = tuple(Outlook(**one) for one in stored["outlook"])
        return cls(**{**stored, "points": points, "outlook": outlook})


def learning_curve(
    rows: ArrayLike,
    groups: ArrayLike,
    score: Callable[[NDArray[np.int64]], float],
    *,
    metric: str = "accuracy",
    fractions: Sequence[float] = FRACTIONS,
    n_repeats: int = N_REPEATS,
    seed: int = 0,
) -> LearningCurve:
    """Measure a metric on ever more of the training rows, and say what more labels would bring.

    Args:
        rows: `(n,)` int, the labelled rows that may be trained on.
        groups: `(n,)` labels, aligned with rows; a group is taken whole or not at all.
        score: trains on the rows it is given and returns the metric, at most 1 and higher is
            better, on photos that are never among `rows`; NaN where these rows cannot be
            trained on.
        metric: its name.
        fractions: shares of the groups, rising, the last 1.
        n_repeats: random choices of groups per fraction; the whole is measured once.
        seed: of the choices.
    """
    index = np.asarray(rows, dtype=np.int64)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(member.max()) + 1 if len(index) else 0
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n_groups) for _ in range(n_repeats)]
    points, spread = [], []
    for fraction in fractions:
        n_taken = max(1, round(fraction * n_groups))
        sizes, values = [], []
        for order in orders if fraction < 1 else orders[:1]:
            taken = index[np.isin(member, order[:n_taken])]
            value = score(taken) if len(taken) else float("nan")
            if np.isfinite(value):
                sizes.append(len(taken))
                values.append(float(value))
        if values:
            points.append(
                CurvePoint(
                    round(np.mean(sizes)),
                    float(np.mean(values)),
                    min(values),
                    max(values),
                    len(values),
                )
            )
            spread.append(float(np.var(values, ddof=1)) if len(values) > 1 else float("nan"))
    return judge(metric, points, spread)


def judge(metric: str, points: Sequence[CurvePoint], variances: Sequence[float]) -> LearningCurve:
    """Extrapolate measured points with a power law, and put the outcome in words.

    Every curve error = a * n^-b + c that could have given the points is weighed by how well it
    does; the outlook is the range of what they say. With few or noisy points many curves fit, the
    range is wide, and the verdict is ``unclear``.

    Args:
        metric: its name.
        points: in rising number of labels.
        variances: of the repeats at each point; NaN where there was one.

    Source:
        The form: Hestness et al. 2017, "Deep learning scaling is predictable, empirically". The
        weighing: a flat prior over b in [0.05, 1.5] and over c below today's error.
    """
    kept = tuple(points)
    verdict: Verdict
    outlook: tuple[Outlook, ...] = ()
    if len({p.n_labels for p in kept}) < 4:
        verdict, message = "unclear", "Too few labels to tell what more of them would bring."
    elif kept[-1].value >= 1:
        verdict = "hardly"
        message = (
            "No answer is wrong on the photos held out for this, so what more labels of this kind "
            "would bring cannot be seen there."
        )
    else:
        outlook = _outlook(kept, variances)
        verdict, message = _in_words(metric, kept[-1], outlook[0])
    return LearningCurve(metric, kept, outlook, verdict, message)


def _outlook(points: Sequence[CurvePoint], variances: Sequence[float]) -> tuple[Outlook, ...]:
    error = np.array([1 - p.value for p in points])
    sizes = np.array([p.n_labels for p in points], dtype=np.float64)
    weight, gain = _posterior(sizes, error, _deviation(points, variances, error), _TIMES)
    return tuple(
        Outlook(
            points[-1].n_labels * times,
            *(min(1.0, points[-1].value + q) for q in _quantiles(g, weight)),
        )
        for times, g in zip(_TIMES, gain.T, strict=True)
    )


def _in_words(metric: str, now: CurvePoint, twice: Outlook) -> tuple[Verdict, str]:
    low, middle, high = (x - now.value for x in (twice.low, twice.value, twice.high))
    between = f"{100 * low:.1f} to {100 * high:.1f}"
    unit = UNITS.get(metric, "points of average precision")
    if high < max(NEGLIGIBLE, min(HARDLY * (1 - now.value), HARDLY_POINTS)):
        return "hardly", (
            "More labels of this kind would hardly help: twice as many would bring at most "
            f"{100 * high:.1f} {unit}."
        )
    more = f"{now.n_labels:,} more labels"
    if low >= NEGLIGIBLE:
        return "helps", f"About {more} would bring about {100 * middle:.1f} {unit} ({between})."
    return "unclear", f"Cannot tell: {more} might bring {between} {unit}."


def _deviation(points: Sequence[CurvePoint], variances: Sequence[float], error: Floats) -> Floats:
    """Standard deviation of each point's error: pooled over the repeats, relative to the error."""
    variance = np.asarray(variances, dtype=np.float64)
    n = np.array([p.n_repeats for p in points])
    known = np.isfinite(variance)
    share = (
        np.sqrt(np.mean(variance[known] / np.maximum(error[known], 1e-3) ** 2))
        if known.any()
        else 0.2
    )
    return np.asarray(
        np.maximum(max(float(share), 0.03) * np.maximum(error, 1e-3) / np.sqrt(n), 1e-4)
    )


def _posterior(
    sizes: Floats, error: Floats, deviation: Floats, times: Sequence[float]
) -> tuple[Floats, Floats]:
    """Weights `(m,)` of curves, and the error they save by 2 and 4 times the labels `(m, 2)`."""
    rate, floor = (x.ravel() for x in np.meshgrid(_RATES, _FLOORS * error[-1], indexing="ij"))
    basis = (sizes / sizes[-1])[None, :] ** -rate[:, None]
    pull = basis / deviation**2
    scale = (pull * (error - floor[:, None])).sum(1) / (pull * basis).sum(1)
    miss = ((error - floor[:, None] - scale[:, None] * basis) / deviation) ** 2
    log = np.where(scale > 0, -0.5 * miss.sum(1), -np.inf)  # labels that harm are no such curve
    weight = np.exp(log - log.max())
    fall = 1 - np.asarray(times)[None, :] ** -rate[:, None]
    return weight / weight.sum(), scale[:, None] * fall


def _quantiles(values: Floats, weight: Floats) -> tuple[float, float, float]:
    """Median, 2.5 % and 97.5 % points of weighted values."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order])
    at = np.searchsorted(share, [0.5 * share[-1], 0.025, 0.975 * share[-1]])
    middle, low, high = values[order][np.minimum(at, len(values) - 1)]
    return float(middle), float(low), float(high)
