"""Pairs of photos ("which is better?"): read from a table, and turned into votes on a scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import LabelError, suggest
from listlens.core.scale import scale_of
from listlens.core.types import Answer, Kind, Reason, RejectedRow
from listlens.labels.histograms import max_entropy
from listlens.metrics.comparisons import bradley_terry
from listlens.sources import tables
from listlens.sources.columns import find_columns
from listlens.sources.paths import printable, real_path
from listlens.sources.table import id_text

ROLES = ("image_a", "image_b", "better")

WORDS: Mapping[str, float] = {
    **dict.fromkeys(("a", "first", "left", "1"), 1.0),
    **dict.fromkeys(("b", "second", "right", "2"), 0.0),
    **dict.fromkeys(("tie", "equal", "same", "draw", "both", "="), 0.5),
}
"""What the winner's column may say, besides a photo's name; and the first photo's share of it."""

DEVIATIONS = 5.0
"""Standard deviations of the strengths from one end of the scale to the other."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """One comparison: which of two photos is better.

    Args:
        images: as the file says them, printable.
        share: of the first: 1 it is better, 0 the second is, 0.5 neither.
        at: where it stands, such as ``pairs.csv:12``.
    """

    images: tuple[str, str]
    share: float
    at: str = ""


@dataclass(frozen=True)
class PairFile:
    """A table of comparisons whose columns are there; always of a score.

    Args:
        path: the file.
        columns: role of ROLES to column.
        scale: names of the steps.
    """

    path: Path
    columns: Mapping[str, str]
    scale: tuple[str, ...]
    kind: Kind = "score"

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that the task is not called after."""
        return tuple(self.columns[role] for role in ROLES)

    def rows(self) -> Iterator[PairRow | RejectedRow | None]:
        """Yield every row in order, None for one without a winner; never raises for a bad row."""
        for row in tables.read_table(self.path):
            yield row if isinstance(row, RejectedRow) else self._row(*row)

    def _row(self, at: str, values: dict[str, Any]) -> PairRow | RejectedRow | None:
        first, second, better = (id_text(values.get(self.columns[role])) for role in ROLES)
        for role, image in (("image_a", first), ("image_b", second)):
            if not image:
                return RejectedRow(at, Reason.BAD_ROW, f"column {self.columns[role]!r} is empty")
        if not better:
            return None
        if first == second:
            return RejectedRow(at, Reason.BAD_ROW, f"{first!r} is compared with itself")
        by_name = {first: 1.0, second: 0.0, self.columns["image_a"]: 1.0,
                   self.columns["image_b"]: 0.0}  # fmt: skip
        share = by_name.get(better, WORDS.get(better.lower()))
        if share is None:
            detail = (
                f"column {self.columns['better']!r} is {better!r}; allowed: a, b, tie, or the name "
                "of the better photo as it stands in the row"
            )
            return RejectedRow(at, Reason.BAD_ROW, detail)
        images = printable(real_path(first)), printable(real_path(second))
        return PairRow(images, share, at)


def read_pairs(
    path: Path, kind: Kind | None, mapping: Mapping[str, str], scale: Sequence[str]
) -> PairFile | None:
    """Look into a table; return what reads its comparisons, or None where it holds none.

    Args:
        path: a table; a folder holds no comparisons.
        kind: what is asked.
        mapping: role to column, see `sources.columns.NAMES`.
        scale: names of the steps.

    Raises:
        LabelError: two photo columns without a winner's, another kind than score, or no scale.
    """
    if not path.is_file():
        return None
    found = tables.columns(path)
    named = {role: column for role, column in mapping.items() if role in ROLES}
    columns = find_columns(found, {r: c for r, c in named.items() if c in found}, ROLES)
    if absent := [column for column in named.values() if column not in found]:
        raise LabelError(
            f"{printable(path)} has no column {absent[0]!r}. {suggest(absent[0], found)}"
        )
    if "image_a" not in columns or "image_b" not in columns:
        return None
    if "better" not in columns:
        raise LabelError(
            f"{printable(path)} has two photo columns and none that says which is better. Call it "
            f"better, or say which it is (--map better=COLUMN). {suggest('better', found)}"
        )
    if kind != "score" or not scale:
        raise LabelError(
            f"{printable(path)} holds pairs of photos, which need --kind score and its scale, such "
            f"as --scale 1:5; the kind is {kind or 'not stated'}."
        )
    return PairFile(path, columns, tuple(scale))


def wins(scale: Sequence[str], first: float, second: float) -> Answer:
    """Return how often each of two was better as an answer about the pair.

    The votes for the first stand at the highest step, those for the second at the lowest.

    Example:
        >>> wins(["1", "2", "3"], 2, 0.5).votes
        (('1', 0.5), ('3', 2))
    """
    votes = ((scale[0], second), (scale[-1], first))
    return Answer((), votes=tuple((step, n) for step, n in votes if n > 0))


def votes_of_pairs(
    scale: Sequence[str], pairs: Iterable[tuple[tuple[int, ...], Answer]]
) -> dict[int, Answer]:
    """Turn comparisons into each photo's votes on the scale.

    Strengths by Bradley-Terry are standardised: the mean strength stands at the middle of the
    scale, a fifth of the scale is one standard deviation, and what is further out stands at the
    end. The votes are on the two steps around that place, as many as the photo has comparisons.

    Args:
        scale: names of the steps.
        pairs: two ids each, and what `wins` gave.

    Example:
        >>> said = [((7, 8), wins(["1", "2", "3"], 3, 0))]
        >>> found = votes_of_pairs(["1", "2", "3"], said)
        >>> found[7].votes, found[8].votes
        ((('2', 1.8), ('3', 1.2)), (('1', 1.2), ('2', 1.8)))
    """
    told = [(ids, dict(answer.votes)) for ids, answer in pairs if answer.votes]
    if not told:
        return {}
    steps = scale_of(scale)
    subjects, at = np.unique([ids for ids, _ in told], return_inverse=True)
    one, two = at.reshape(-1, 2).T
    ahead = np.array([votes.get(scale[-1], 0.0) for _, votes in told])
    behind = np.array([votes.get(scale[0], 0.0) for _, votes in told])
    strength = bradley_terry(one, two, ahead, behind, len(subjects))
    number = np.bincount(np.r_[one, two], np.r_[ahead, behind] + np.r_[behind, ahead])
    places = _placed(strength, steps)
    found = {}
    for subject, place, n in zip(subjects.tolist(), places.tolist(), number.tolist(), strict=True):
        shares = max_entropy(steps, place, 0.0)
        votes = [(step, round(share * n, 6)) for step, share in zip(scale, shares, strict=True)]
        found[subject] = Answer((), votes=tuple((step, v) for step, v in votes if v > 0))
    return found


def _placed(strength: NDArray[np.float64], steps: Sequence[float]) -> NDArray[np.float64]:
    """Where strengths `(n,)` stand on the scale, in hundredths of its smallest step."""
    low, high = steps[0], steps[-1]
    spread = float(strength.std())
    unit = (strength - strength.mean()) / spread if spread > 1e-9 else np.zeros(len(strength))
    place = (low + high) / 2 + unit * (high - low) / DEVIATIONS
    fine = min(np.diff(steps)) / 100
    found: NDArray[np.float64] = np.clip(low + np.round((place - low) / fine) * fine, low, high)
    return found
