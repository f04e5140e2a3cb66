"""Charts as inline SVG: they open anywhere, print sharply and need no script.

Colours come from the page's CSS classes, so one drawing serves screen and paper.
"""

from __future__ import annotations

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
    n = max(1, round(high / step + 0.499))
    digits = 1 if step < 0.01 else 0
    ticks = tuple((i * step, f"{100 * i * step:.{digits}f} %") for i in range(n + 1))
    return Axis(0.0, n * step, ticks, title)


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
