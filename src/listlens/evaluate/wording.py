"""Numbers, names and places as a page says them: the filters of the report's templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from listlens.core.tree import SEPARATOR
from listlens.core.types import Estimate
from listlens.evaluate.charts import interval_bar
from listlens.evaluate.scores import AnyEvaluation

METRIC_NAMES = {
    "accuracy": "Accuracy",
    "macro_ap": "Macro average precision",
    "hierarchical_f1": "Hierarchical F1",
    "srcc": "Rank correlation (SRCC)",
}
"""The headline metrics in words."""


def counted(n: int, unit: str) -> str:
    """A number with its unit, given in the plural.

    Example:
        >>> counted(1, "photos"), counted(2_000, "photos")
        ('1 photo', '2,000 photos')
    """
    return f"{n:,} {unit.removesuffix('s') if n == 1 else unit}"


def percent(share: float | Estimate | None, digits: int = 0) -> str:
    """In percent; what is not quite all or none is not rounded to it."""
    value = share.value if isinstance(share, Estimate) else share
    if value is None:
        return "–"
    step, text = 10.0**-digits, f"{100 * value:.{digits}f}"
    if value > 0 and float(text) == 0:
        text = f"<{step:.{digits}f}"
    if value < 1 and float(text.lstrip("<")) == 100:
        text = f">{100 - step:.{digits}f}"
    return f"{text}\N{NO-BREAK SPACE}%"


def last_name(path: str) -> str:
    """The last name of a node's path."""
    return path.rpartition(SEPARATOR)[2]


def place_in_words(percentile: float) -> str:
    """Say a percentile in words, rounded down: nobody is better than all."""
    below = int(100 * percentile + 1e-9)  # 100 * 0.29 is a little less than 29
    return f"better than {below}\N{NO-BREAK SPACE}%" if below else "among the lowest"


def headline_number(e: AnyEvaluation) -> str:
    """Shares that people can count are said in percent."""
    counted = e.metric in ("accuracy", "macro_ap")
    return percent(e.headline, 1) if counted else number(e.headline, 3)


def number(estimate: Estimate | None, digits: int) -> str:
    """As a decimal; a dash where it is unknown."""
    return "–" if estimate is None else f"{estimate.value:.{digits}f}"


def from_to(estimate: Estimate | None, digits: int) -> str:
    """The interval as decimals."""
    return "" if estimate is None else f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def between(estimate: Estimate | None) -> str:
    """The interval in per cent."""
    return "" if estimate is None else f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}"


def bar(estimate: Estimate | None) -> Markup:
    """A drawn bar with its interval."""
    if estimate is None:
        return Markup("")
    return interval_bar(estimate.value, estimate.low, estimate.high)


FILTERS: dict[str, Callable[..., Any]] = {
    "counted": counted,
    "percent": percent,
    "between": between,
    "bar": bar,
    "number": number,
    "range": from_to,
    "last_name": last_name,
    "place": place_in_words,
    "headline_number": headline_number,
}
