"""Several people's answers to one label, with how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from listlens.core.tree import ancestors
from listlens.core.types import Answer, Kind


@dataclass(frozen=True, slots=True)
class Label:
    """What the annotations of one subject come to.

    Args:
        yes: classes given; for `single` and `tree` at most one.
        no: classes refused by name (`multi`).
        unlisted: whether a class in none of the tuples means no or is unknown.
        tied: classes on which the votes are equal; to be decided by one more person.
        votes: of a `score`, (step, number of votes), all people's together.
        confidence: lowest share of the votes that a decided class has, in (0.5, 1] for `multi`,
            the winner's share in (0, 1] for `single` and `tree`; 1 for `score`; 0 where nothing is
            decided by votes.
        n_annotators: how many people's answers count.
    """

    yes: tuple[str, ...]
    no: tuple[str, ...]
    unlisted: str
    tied: tuple[str, ...]
    confidence: float
    n_annotators: int
    votes: tuple[tuple[str, float], ...] = ()

    @property
    def conflict(self) -> bool:
        """Whether the votes leave something undecided."""
        return bool(self.tied)


def consensus(kind: Kind, annotations: Sequence[tuple[Hashable, Answer]]) -> Label | None:
    """Decide by majority over the latest answer of each annotator.

    For `single` the class with most votes wins. For `multi` each class is voted on alone: yes,
    or no (by name, or by leaving it out where unlisted means no); who leaves it unknown abstains.
    For `tree` the way down goes on while one child has more than half of the answers at this depth
    or below; who answered above abstains. For `score` the votes are added up.

    Args:
        kind: what was asked.
        annotations: annotator and answer, oldest first.

    Returns:
        The label, or None where nobody said anything.

    Example:
        >>> bed, sofa = Answer(("bed",)), Answer(("sofa",))
        >>> label = consensus("single", [("ann", bed), ("bob", bed), ("cy", sofa)])
        >>> label.yes, round(label.confidence, 2), label.conflict
        (('bed',), 0.67, False)
    """
    answers = list(dict(annotations).values())
    if kind == "single":
        return _single([answer for answer in answers if answer.yes])
    if kind == "tree":
        return _tree([answer for answer in answers if answer.yes])
    if kind == "score":
        return _score([answer for answer in answers if answer.votes])
    return _multi(answers)


def _single(answers: list[Answer]) -> Label | None:
    if not answers:
        return None
    votes = Counter(answer.yes[0] for answer in answers)
    most = max(votes.values())
    first = tuple(sorted(name for name, n in votes.items() if n == most))
    if len(first) > 1:
        return Label((), (), "no", first, 0.0, len(answers))
    return Label(first, (), "no", (), most / len(answers), len(answers))


def _tree(answers: list[Answer]) -> Label | None:
    if not answers:
        return None
    lines = [ancestors(answer.yes[0]) for answer in answers]
    agreed, share = "", 0.0
    while True:
        level = len(ancestors(agreed)) if agreed else 0
        votes = Counter(
            line[level]
            for line in lines
            if len(line) > level and (not agreed or line[level - 1] == agreed)
        )
        if not votes:
            break
        best, n = votes.most_common(1)[0]
        if 2 * n <= votes.total():
            break
        agreed, share = best, n / votes.total()
    if not agreed:
        tied = tuple(sorted({answer.yes[0] for answer in answers}))
        return Label((), (), "no", tied, 0.0, len(answers))
    return Label((agreed,), (), "no", (), share, len(answers))


def _score(answers: list[Answer]) -> Label | None:
    if not answers:
        return None
    votes: dict[str, float] = {}
    for step, n in (vote for answer in answers for vote in answer.votes):
        votes[step] = votes.get(step, 0.0) + n
    ordered = tuple(sorted(votes.items(), key=lambda item: float(item[0])))
    return Label((), (), "no", (), 1.0, len(answers), ordered)


def _multi(answers: list[Answer]) -> Label | None:
    if not answers:
        return None
    yes: list[str] = []
    no: list[str] = []
    tied: list[str] = []
    shares: list[float] = []
    for name in sorted({name for answer in answers for name in (*answer.yes, *answer.no)}):
        n_yes = sum(name in answer.yes for answer in answers)
        n_no = sum(_says_no(answer, name) for answer in answers)
        if n_yes == n_no:
            tied.append(name)
            continue
        (yes if n_yes > n_no else no).append(name)
        shares.append(max(n_yes, n_no) / (n_yes + n_no))
    unlisted = "no" if any(answer.unlisted == "no" for answer in answers) else "unknown"
    if not shares:
        # Nobody named a class: "none of them" is a full answer, a tie is none.
        shares = [0.0 if tied else 1.0]
    return Label(tuple(yes), tuple(no), unlisted, tuple(tied), min(shares), len(answers))


def _says_no(answer: Answer, name: str) -> bool:
    return name in answer.no or (answer.unlisted == "no" and name not in answer.yes)
