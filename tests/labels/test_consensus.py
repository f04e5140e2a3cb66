"""What several people's answers come to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listlens.core.types import Answer, Kind
from listlens.labels.consensus import Label, consensus

names = st.sampled_from("abc")
single_votes = st.lists(st.tuples(st.integers(0, 4), names.map(lambda n: Answer((n,)))))


@st.composite
def multi_answers(draw: st.DrawFn) -> Answer:
    said = draw(st.dictionaries(names, st.booleans()))
    yes = tuple(name for name, value in said.items() if value)
    no = tuple(name for name, value in said.items() if not value)
    return Answer(yes, no, draw(st.sampled_from(["no", "unknown"])))


multi_votes = st.lists(st.tuples(st.integers(0, 4), multi_answers()))


def test_one_persons_answer_is_the_label() -> None:
    label = consensus("multi", [("ann", Answer(("bed",), ("tv",), "unknown"))])
    assert label == Label(("bed",), ("tv",), "unknown", (), 1.0, 1)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_nobody_said_anything(kind: Kind) -> None:
    assert consensus(kind, []) is None


def test_a_person_may_change_their_mind() -> None:
    votes = [("ann", Answer(("bed",))), ("ann", Answer(("sofa",)))]
    label = consensus("single", votes)
    assert label is not None
    assert (label.yes, label.n_annotators) == (("sofa",), 1)


def test_a_tie_is_a_conflict_and_decides_nothing() -> None:
    label = consensus("single", [("ann", Answer(("bed",))), ("bob", Answer(("sofa",)))])
    assert label is not None
    assert label.conflict
    assert (label.yes, label.tied, label.confidence) == ((), ("bed", "sofa"), 0.0)


def test_multi_label_classes_are_voted_on_one_by_one() -> None:
    votes = [
        ("ann", Answer(("bed", "tv"))),
        ("bob", Answer(("bed",), ("rug",), "unknown")),
        ("cy", Answer(("bed", "rug", "cat"), (), "unknown")),
    ]
    label = consensus("multi", votes)
    assert label is not None
    assert label.yes == ("bed", "tv")
    assert label.no == ("rug",)
    assert label.tied == ("cat",)
    assert label.unlisted == "no"
    assert label.confidence == pytest.approx(2 / 3)


def test_none_of_the_classes_is_a_full_answer() -> None:
    label = consensus("multi", [("ann", Answer(()))])
    assert label == Label((), (), "no", (), 1.0, 1)


@given(single_votes)
def test_single_is_the_majority_of_the_latest_answers(votes: list[tuple[int, Answer]]) -> None:
    label = consensus("single", votes)
    counts = Counter(answer.yes[0] for answer in dict(votes).values())
    if label is None:
        assert not counts
        return
    most = max(counts.values())
    winners = sorted(name for name, n in counts.items() if n == most)
    assert label.conflict == (len(winners) > 1)
    assert label.yes == (() if label.conflict else tuple(winners))
    assert label.confidence == (0 if label.conflict else most / sum(counts.values()))


@given(multi_votes)
def test_multi_never_says_two_things_of_a_class(votes: list[tuple[int, Answer]]) -> None:
    label = consensus("multi", votes)
    if label is None:
        assert not votes
        return
    named = label.yes + label.no + label.tied
    assert len(set(named)) == len(named)
    assert label.conflict == bool(label.tied)
    assert label.confidence == 0 or 0.5 < label.confidence <= 1
    assert label.n_annotators == len(dict(votes))


@given(multi_votes, st.randoms())
def test_the_order_of_people_does_not_matter(
    votes: list[tuple[int, Answer]], random: object
) -> None:
    latest = list(dict(votes).items())
    random.shuffle(latest)  # type: ignore[attr-defined]
    assert consensus("multi", latest) == consensus("multi", votes)


@given(multi_votes)
def test_answers_of_one_mind_are_certain(votes: list[tuple[int, Answer]]) -> None:
    same = [(person, votes[0][1]) for person, _ in votes]
    label = consensus("multi", same)
    if label is not None:
        assert (label.confidence, label.conflict) == (1.0, False)
