"""What all pages share: their templates, and how numbers and pictures are written in them."""

from __future__ import annotations

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from listlens.core.tree import SEPARATOR
from listlens.core.types import Estimate
from listlens.evaluate.charts import interval_bar
from listlens.evaluate.scores import AnyEvaluation


def data_uri(jpeg: bytes | None) -> str:
    """Return a JPEG as an address that a page can hold, empty where there is none."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""


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


def _last_name(path: str) -> str:
    """The last name of a node's path."""
    return path.rpartition(SEPARATOR)[2]


def place_in_words(percentile: float) -> str:
    """Say a percentile in words, rounded down: nobody is better than all."""
    below = int(100 * percentile)
    return f"better than {below}\N{NO-BREAK SPACE}%" if below else "among the lowest"


def _headline_number(e: AnyEvaluation) -> str:
    """Shares that people can count are said in percent."""
    share = e.metric in ("accuracy", "macro_ap")
    return percent(e.headline, 1) if share else _number(e.headline, 3)


def _number(estimate: Estimate | None, digits: int) -> str:
    return "–" if estimate is None else f"{estimate.value:.{digits}f}"


def _range(estimate: Estimate | None, digits: int) -> str:
    return "" if estimate is None else f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def between(estimate: Estimate | None) -> str:
    """Return the ends of an interval in percent, such as 40–60."""
    return "" if estimate is None else f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}"


def _bar(estimate: Estimate | None) -> Markup:
    if estimate is None:
        return Markup("")
    return interval_bar(estimate.value, estimate.low, estimate.high)


@cache
def environment() -> Environment:
    """Return the templates of the pages, with the filters that write numbers."""
    environment = Environment(
        loader=PackageLoader("listlens.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "between": between,
        "bar": _bar,
        "number": _number,
        "range": _range,
        "last_name": _last_name,
        "place": place_in_words,
        "headline_number": _headline_number,
    }
    return environment
