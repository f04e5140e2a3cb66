"""What is left of a model's answers when photos are darker, blurred, cropped or written over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from listlens.core.types import Estimate
from listlens.evaluate.comparison import Comparison
from listlens.evaluate.plain import plain


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of the photos, and what the model makes of them then.

    Args:
        name: of the change, such as ``darker``.
        strength: ``mild`` or ``strong``.
        how: how much, in words.
        value: the headline metric on the changed photos.
        drop: how much that is below the unchanged ones, with the interval of the paired difference.
        n_lost: answers that were right and are wrong now.
        n_won: answers that were wrong and are right now.
    """

    name: str
    strength: str
    how: str
    value: Estimate | None
    drop: Estimate | None
    n_lost: int
    n_won: int

    @classmethod
    def of(cls, name: str, strength: str, how: str, found: Comparison) -> Changed:
        """Take the comparison of answers to unchanged and changed photos."""
        gain = found.gain
        drop = None if gain is None else Estimate(-gain.value, -gain.high, -gain.low, gain.n)
        return cls(name, strength, how, found.second, drop, len(found.broken), len(found.mended))


@dataclass(frozen=True)
class Robustness:
    """The table of all changes.

    Args:
        metric: name of the headline.
        n: photos.
        protocol: in words, what the model had seen of them.
        clean: the headline on the unchanged photos, by the same way.
        changes: mild and strong of each, in the order of the table.
    """

    metric: str
    n: int
    protocol: str
    clean: Estimate | None
    changes: tuple[Changed, ...]

    def pairs(self) -> list[tuple[Changed, ...]]:
        """The changes by name, mild before strong."""
        names = dict.fromkeys(c.name for c in self.changes)
        return [tuple(c for c in self.changes if c.name == name) for name in names]

    @property
    def sentence(self) -> str:
        """What hurts most, in words."""
        lost = [c for c in self.changes if c.drop is not None and c.drop.low > 0]
        if not lost:
            return "No change makes the answers surely worse."
        worst = sorted(lost, key=_drop, reverse=True)
        mild = [c.name for c in worst if c.strength == "mild"]
        first = worst[0]
        said = f"Worst are photos {first.name} ({first.how}): {_drop(first):.3f} less."
        if mild:
            return f"{said} A mild change is enough where they are {listed(mild)}."
        return f"{said} No mild change makes the answers surely worse."

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "metric": self.metric,
            "n": self.n,
            "protocol": self.protocol,
            "clean": plain(self.clean),
            "sentence": self.sentence,
            "changes": [plain(c) for c in self.changes],
        }


def listed(names: Sequence[str]) -> str:
    """Join names with commas and a last "or".

    Example:
        >>> listed(["darker", "blurred", "cropped"])
        'darker, blurred or cropped'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _drop(change: Changed) -> float:
    return change.drop.value if change.drop is not None else 0.0
