"""Numbers, names and places as a page says them: the filters of the report's templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from listlens.core.amounts import counted
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


PARTS = {
    "test": "its own test split",
    "cross_validation": "five folds",
    "labelled_since": "listings labelled since",
}
"""What the numbers on a model's card were measured on."""


def card_numbers(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers on a model's card, each with its interval and what it was measured on.

    Args:
        metrics: of the card.

    Returns:
        JSON-able, the headline first: name, metric (in words), value, low, high, n, part (in
        words); empty where it was not measured.

    Example:
        >>> told = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "n": 40}
        >>> [(one["metric"], one["low"], one["n"]) for one in card_numbers({"test": told})]
        [('Accuracy', 0.8, 40)]
    """
    found = []
    for part, words in PARTS.items():
        told = metrics.get(part)
        if not isinstance(told, Mapping):
            continue
        for name, value in told.items():
            if isinstance(value, Mapping):
                shown = {key: value.get(key) for key in ("value", "low", "high")}
                metric = METRIC_NAMES.get(name, name.replace("_", " "))
                found.append({"name": name, "metric": metric, **shown, "n": told.get("n", 0),
                              "part": words})  # fmt: skip
    return found


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
