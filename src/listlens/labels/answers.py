"""What one row of a label file says: its values, as an answer.

A single-label value is a class. A multi-label value is classes separated by ``|``, a JSON list, or
a list where the format has lists; ``-class`` means no. A tree's value is a path, in one column with
a separator or one column a level. A score's is a number on the scale, or the votes of its steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from listlens.core.scale import scale_of
from listlens.core.tree import SEPARATOR
from listlens.core.types import Answer, Kind
from listlens.labels.histograms import max_entropy
from listlens.sources.table import id_text

Unlisted = Literal["no", "unknown"]

MARK = SEPARATOR.strip()
"""What separates the levels of a path in one column, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the label columns of a file are read.

    Args:
        kind: what is asked.
        separator: tree: between the levels of a path in one column.
        scale: score: names of the steps.
        means: score: whether a number is the mean of several votes, even one that is a step; else a
            step is one vote.
    """

    kind: Kind = "single"
    separator: str = MARK
    scale: tuple[str, ...] = ()
    means: bool = False

    def answer(
        self,
        values: Sequence[Any],
        unlisted: Unlisted = "no",
        *,
        count: Any = None,
        deviation: Any = None,
    ) -> Answer | str | None:
        """Read the label columns of one row.

        Args:
            values: one value; tree: or one a level, from the top; score: or the votes of each step.
            unlisted: see `Answer`.
            count: score: how many votes a mean stands for.
            deviation: score: their standard deviation.

        Returns:
            The answer, None where there is none, or a sentence on what is wrong.

        Example:
            >>> Reading("tree").answer(["Fruit", "Apple", ""]).yes
            ('Fruit > Apple',)
            >>> Reading("score", scale=("1", "2", "3")).answer(["2"]).votes
            (('2', 1.0),)
        """
        if self.kind == "tree":
            return self._node(values)
        if self.kind == "score":
            return self._votes(values, count, deviation)
        return parse_answer(values[0], self.kind, unlisted)

    def _node(self, values: Sequence[Any]) -> Answer | str | None:
        if any(isinstance(value, (list, dict)) for value in values):
            return "a level of a tree is a text"
        names = [id_text(value) for value in values]
        if len(values) == 1:
            # What we write ourselves has spaces around the mark, and names may hold it without.
            mark = SEPARATOR if SEPARATOR in names[0] and self.separator == MARK else self.separator
            names = [part.strip() for part in names[0].split(mark)] if names[0] else [""]
            if len(names) > 1 and not all(names):
                return f"{names} has a level without a name"
        held = [name for name in names if SEPARATOR in name]
        if held:
            return f"{held[0]!r} holds {SEPARATOR!r}, which separates the levels of a path"
        depth = sum(map(bool, names))
        if not all(names[:depth]):
            return f"a level is empty above one that is not: {names}"
        return Answer((SEPARATOR.join(names[:depth]),)) if depth else None

    def _votes(self, values: Sequence[Any], count: Any, deviation: Any) -> Answer | str | None:
        value: Any = values[0] if len(values) == 1 else list(values)
        if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                return f"not a JSON list of votes: {error}"
        if isinstance(value, list) and all(id_text(part) == "" for part in value):
            return None
        if isinstance(value, list):
            if len(value) != len(self.scale):
                return f"{len(value)} numbers of votes for {len(self.scale)} steps"
            value = dict(zip(self.scale, value, strict=True))
        if isinstance(value, dict):
            return self._histogram(value)
        if id_text(value) == "":
            return None
        numbers = [_number(v) for v in (value, count, deviation)]
        wrong = next((n for n in numbers if isinstance(n, str)), None)
        if wrong is not None:
            return wrong
        return self._mean(*numbers)  # type: ignore[arg-type]

    def _histogram(self, votes: Mapping[Any, Any]) -> Answer | str:
        strange = [str(step) for step in votes if str(step) not in self.scale]
        if strange:
            return f"{strange[0]!r} is no step of the scale {', '.join(self.scale)}"
        numbers = {str(step): _number(n) or 0.0 for step, n in votes.items()}
        for step, n in numbers.items():
            if isinstance(n, str) or n < 0:
                return f"votes of step {step} must be a number of 0 or more, not {votes[step]!r}"
        found = tuple((step, float(numbers[step])) for step in self.scale if numbers.get(step))
        return Answer((), votes=found) if found else "the votes sum to 0"

    def _mean(
        self, mean: float | None, count: float | None, deviation: float | None
    ) -> Answer | str | None:
        if mean is None:
            return None
        if count is not None and count <= 0:
            return f"the number of votes must be above 0, not {count:g}"
        steps = scale_of(self.scale)
        if not self.means and count is None and deviation is None and mean in steps:
            return Answer((), votes=((self.scale[steps.index(mean)], 1.0),))
        try:
            shares = max_entropy(steps, mean, deviation)
        except ValueError as error:
            return str(error)
        pairs = zip(self.scale, shares, strict=True)
        return Answer((), votes=tuple((s, p * (count or 1.0)) for s, p in pairs if p > 1e-9))


def is_between_steps(scale: Sequence[str], value: Any) -> bool:
    """Whether a value is a number on the scale that is none of its steps: a mean, and no rating.

    Example:
        >>> [is_between_steps(["1", "2", "3"], value) for value in ("2", 2.5, "9", "", [0, 1, 1])]
        [False, True, False, False, False]
    """
    if isinstance(value, (list, dict)):
        return False
    number, steps = _number(value), scale_of(scale)
    return isinstance(number, float) and steps[0] < number < steps[-1] and number not in steps


def _number(value: Any) -> float | str | None:
    """A finite number, None where there is none, or what is wrong."""
    if isinstance(value, (list, dict)):
        return f"{value!r} is not a number"
    text = id_text(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return f"{text!r} is not a number"
    return number if math.isfinite(number) else f"{text!r} is not a finite number"


def parse_answer(value: Any, kind: Kind, unlisted: Unlisted = "no") -> Answer | str | None:
    """Read one label value.

    Args:
        value: text, number or list; None and, for `single`, empty text are no label.
        kind: what is asked.
        unlisted: see `Answer`. An empty `multi` value says "no class" where it is ``no``, and
            nothing at all where it is ``unknown``.

    Returns:
        The answer, None where there is none, or a sentence on what is wrong.

    Example:
        >>> parse_answer("bed| lamp |-tv", "multi").yes, parse_answer("bed", "single").yes
        (('bed', 'lamp'), ('bed',))
    """
    if isinstance(value, dict):
        return "a label is a text or a list of texts, not an object"
    if value is None:
        return None
    names = _names(value, kind)
    if isinstance(names, str):
        return names
    if kind == "single":
        if len(names) > 1:
            return f"one label is needed, {len(names)} found: is this a multi-label file?"
        return Answer(yes=(names[0],)) if names else None
    no = tuple(name for name in (n[1:].strip() for n in names if n.startswith("-")) if name)
    yes = tuple(name for name in names if not name.startswith("-"))
    both = sorted(set(yes) & set(no))
    if both:
        return f"both yes and no: {', '.join(both)}"
    if not yes and not no and unlisted == "unknown":
        return None
    return Answer(yes, no, unlisted)


def _names(value: Any, kind: Kind) -> list[str] | str:
    """Return the distinct names in a value, in order, or what is wrong with it."""
    parts: list[Any]
    if isinstance(value, list):
        parts = value
    elif kind == "multi" and isinstance(value, str):
        parts = value.split("|")
        if value.lstrip().startswith("["):
            try:
                parts = json.loads(value)
            except (ValueError, RecursionError) as error:
                return f"not a JSON list: {error}"
    else:
        parts = [value]
    if any(isinstance(part, (list, dict)) for part in parts):
        return "a label is a text or a list of texts"
    return list(dict.fromkeys(name for name in map(id_text, parts) if name))
