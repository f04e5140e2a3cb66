"""Scales of score tasks: ordered steps, evenly spaced, named by their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from listlens.core.errors import InputError

MOST_STEPS = 101
"""Votes on a finer scale are rounded to its steps by whoever collects them."""

N_STEPS = 10
"""Intervals that a scale without whole steps is cut into, as AVA's 1 to 10 is into 9."""


def parse_scale(text: str) -> tuple[str, ...]:
    """Read ``LOW:HIGH`` or ``LOW:HIGH:STEP`` and return the names of the steps.

    Without a step, whole numbers up to 20 apart are taken one by one; anything else in ten parts.

    Raises:
        InputError: no two numbers in order, a step that does not fit, or too many steps.

    Example:
        >>> parse_scale("1:5"), len(parse_scale("0:1"))
        (('1', '2', '3', '4', '5'), 11)
    """
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    match = re.fullmatch(f"{number}:{number}(?::{number})?", text)
    if match is None:
        raise InputError(
            f"scale {text!r} is not known; it is LOW:HIGH or LOW:HIGH:STEP, such as 1:5 or 0:1:0.1"
        )
    low, high = float(match[1]), float(match[2])
    if low >= high:
        raise InputError(f"scale {text!r}: the lowest step must be below the highest")
    whole = low.is_integer() and high.is_integer() and high - low <= 2 * N_STEPS
    usual = 1.0 if whole and high - low >= 2 else (high - low) / N_STEPS
    step = float(match[3]) if match[3] else usual
    n = (high - low) / step if step > 0 else 0.0
    if round(n) < 1 or abs(n - round(n)) > 1e-6 or round(n) + 1 > MOST_STEPS:
        raise InputError(
            f"scale {text!r}: the step must divide the scale into 1 to {MOST_STEPS - 1} parts"
        )
    values = (low + i * step for i in range(round(n) + 1))
    names = tuple(_step_name(0.0 if abs(value) < 1e-6 * step else value) for value in values)
    if len(set(names)) < len(names):
        raise InputError(f"scale {text!r}: its steps must differ in their first ten digits")
    return names


def _step_name(value: float) -> str:
    """A step as text, the shortest that gives the number back to ten digits."""
    return f"{value:.10g}"


def scale_of(classes: Sequence[str]) -> tuple[float, ...]:
    """Return the numbers `(k,)` of a score task's steps, which increase.

    Raises:
        InputError: names that are no increasing numbers.

    Example:
        >>> scale_of(["1", "2", "3"])
        (1.0, 2.0, 3.0)
    """
    try:
        values = tuple(float(name) for name in classes)
    except ValueError:
        values = ()
    rising = all(a < b for a, b in pairwise(values))
    if len(values) < 2 or not rising or not all(map(math.isfinite, values)):
        raise InputError(
            f"the steps of a score task are increasing numbers, not {', '.join(classes) or 'none'}"
        )
    return values
