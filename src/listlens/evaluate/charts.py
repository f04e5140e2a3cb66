"""Charts as inline SVG: they open anywhere, print sharply and need no script.

Colours come from the page's CSS classes, so one drawing serves screen and paper.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 360, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 22, 10, 38


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its ends, its ticks and what it shows.

    Args:
        low: value at the left or bottom end.
        high: value at the right or top end, above low.
        ticks: values and their texts.
        title: what is measured.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str

    def place(self, value: float) -> float:
        """Return where the value lies, 0 at low and 1 at high."""
        return (value - self.low) / (self.high - self.low)


def share_axis(title: str, high: float = 1.0) -> Axis:
    """Return an axis for shares from 0 to `high`, in percent."""
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.25) if high / s <= 5 or s == 0.25)
    n = max(1, math.ceil(high / step - 1e-9))
    digits = 1 if step < 0.01 else 0
    ticks = tuple((i * step, f"{100 * i * step:.{digits}f} %") for i in range(n + 1))
    return Axis(0.0, n * step, ticks, title)


def number_axis(title: str, low: float, high: float) -> Axis:
    """Return an axis over at least [low, high], ending at round numbers."""
    if high - low < 1e-6 * max(1.0, abs(high)):  # one value: half a unit around it
        low, high = low - 0.5, high + 0.5
    wide = high - low
    size = 10.0 ** math.floor(math.log10(wide / 5))
    step = next(size * m for m in (1, 2, 2.5, 5, 10, 20) if wide / (size * m) <= 5.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple((i * step, f"{i * step:g}") for i in range(first, last + 1))
    return Axis(first * step, last * step, ticks, title)


def plot(x: Axis, y: Axis, marks: Sequence[Markup], label: str) -> Markup:
    """Draw two axes with a grid, and the marks on them.

    Args:
        x: horizontal axis.
        y: vertical axis.
        marks: drawn by `line`, `band`, `dot` and `whisker` with the same axes.
        label: the whole chart in one sentence, for those who do not see it.
    """
    parts = []
    for value, text in y.ticks:
        at = _y(y, value)
        parts.append(_tag("line", cls="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at))
        parts.append(_text(_LEFT - 5, at + 4, text, "end"))
    for value, text in x.ticks:
        parts.append(_text(_x(x, value), _HEIGHT - _BOTTOM + 15, text, "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, x.title, "middle", "title"))
    turn = f"rotate(-90 11 {(_HEIGHT - _BOTTOM + _TOP) / 2})"
    parts.append(
        Markup(
            '<text class="title" x="11" y="{}" text-anchor="middle" transform="{}">{}</text>'
        ).format((_HEIGHT - _BOTTOM + _TOP) / 2, turn, y.title)
    )
    body = Markup("").join([*parts, *marks])
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, body)


def line(x: Axis, y: Axis, points: Sequence[tuple[float, float]], cls: str = "line") -> Markup:
    """Join points by a line."""
    path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in points)
    return Markup('<polyline class="{}" points="{}"/>').format(cls, path)


def band(x: Axis, y: Axis, points: Sequence[tuple[float, float, float]]) -> Markup:
    """Fill between low and high, given as (x, low, high)."""
    there = [f"{_x(x, a):.1f},{_y(y, high):.1f}" for a, _, high in points]
    back = [f"{_x(x, a):.1f},{_y(y, low):.1f}" for a, low, _ in reversed(points)]
    return Markup('<polygon class="band" points="{}"/>').format(" ".join(there + back))


def dot(x: Axis, y: Axis, a: float, b: float, title: str, radius: float = 3.5) -> Markup:
    """Draw a point that says its value when pointed at."""
    return Markup(
        '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>'
    ).format(_x(x, a), _y(y, b), radius, title)


def whisker(x: Axis, y: Axis, a: float, low: float, high: float) -> Markup:
    """Draw an interval through a point."""
    return _tag("line", cls="whisker", x1=_x(x, a), x2=_x(x, a), y1=_y(y, low), y2=_y(y, high))


def column(x: Axis, y: Axis, left: float, right: float, height: float, title: str) -> Markup:
    """Draw a bar of a histogram, which stands on the lower end of `y`."""
    top, wide = _y(y, height), _x(x, right) - _x(x, left)
    return Markup(
        '<rect class="column" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    ).format(_x(x, left), top, max(wide - 0.7, 0.5), _y(y, y.low) - top, title)


def hexagons(
    x: Axis, y: Axis, points: Sequence[tuple[float, float]], radius: float = 6.5
) -> list[Markup]:
    """Draw many points as hexagons, the darker the more points they hold.

    Source: binning as Carr et al. 1987, "Scatterplot matrix techniques for large N", section 3:
    the nearer centre of two shifted grids.
    """
    wide, high = radius * math.sqrt(3), radius * 3
    held: Counter[tuple[float, float]] = Counter()
    for a, b in points:
        at = _x(x, a), _y(y, b)
        centres = [
            ((round(at[0] / wide - s) + s) * wide, (round(at[1] / high - s) + s) * high)
            for s in (0.0, 0.5)
        ]
        held[min(centres, key=lambda c: math.dist(c, at))] += 1
    most = max(held.values(), default=1)
    corners = [(math.sin(math.pi * k / 3), math.cos(math.pi * k / 3)) for k in range(6)]
    return [
        Markup(
            '<polygon class="cell" opacity="{:.2f}" points="{}"><title>{}</title></polygon>'
        ).format(
            0.15 + 0.85 * math.sqrt(n / most),
            " ".join(f"{cx + radius * u:.1f},{cy + radius * v:.1f}" for u, v in corners),
            f"{n:,} photos" if n > 1 else "1 photo",
        )
        for (cx, cy), n in sorted(held.items())
    ]


def interval_bar(value: float, low: float, high: float) -> Markup:
    """Draw a share as a bar with its interval, for a table's cell; the text stands beside it."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="10"/>'
        '<rect class="fill" width="{:.1f}" height="10"/>'
        '<rect class="range" x="{:.1f}" y="3.5" width="{:.1f}" height="3"/></svg>'
    ).format(100 * value, 100 * low, max(0.6, 100 * (high - low)))


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def _tag(name: str, cls: str, **attributes: float) -> Markup:
    inner = " ".join(f'{key}="{value:.1f}"' for key, value in attributes.items())
    return Markup(f'<{escape(name)} class="{escape(cls)}" {inner}/>')


def _text(x: float, y: float, text: str, anchor: str, cls: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        cls, x, y, anchor, text
    )
