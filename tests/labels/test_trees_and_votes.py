"""Paths and votes in label files: what each value says, what is refused, what people agree on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import ConfigError, LabelError
from listlens.core.tree import SEPARATOR
from listlens.core.types import Answer, RejectedRow
from listlens.labels.answers import Reading
from listlens.labels.consensus import consensus
from listlens.labels.files import LabelRow, Unlabelled, read_labels
from listlens.labels.histograms import max_entropy, mean_of

TREE = Reading("tree")
STARS = Reading("score", scale=("1", "2", "3", "4", "5"))
TEN = tuple(float(i) for i in range(1, 11))

PATHS: dict[str, tuple[Reading, list[Any], str | None]] = {
    "one-column": (TREE, ["Fruit > Apple"], "Fruit > Apple"),
    "no-spaces": (TREE, ["Fruit>Apple"], "Fruit > Apple"),
    "own-mark-inside-a-name": (TREE, ["a>b > c"], "a>b > c"),
    "slash": (Reading("tree", "/"), [" Fruit / Apple/ "[:-2]], "Fruit > Apple"),
    "mark-in-a-level-column": (TREE, ["a>b", "c"], "a>b > c"),
    "levels": (TREE, ["Fruit", "Apple", "Fuji"], "Fruit > Apple > Fuji"),
    "shallow": (TREE, ["Fruit", None, ""], "Fruit"),
    "numbers": (TREE, [1, 2.0], "1 > 2"),
    "nothing": (TREE, [""], None),
    "nothing-in-any-level": (TREE, [None, ""], None),
}


@pytest.mark.parametrize(("reading", "values", "path"), PATHS.values(), ids=PATHS)
def test_a_path_is_read(reading: Reading, values: list[Any], path: str | None) -> None:
    assert reading.answer(values) == (Answer((path,)) if path else None)


@pytest.mark.parametrize(
    ("reading", "values", "says"),
    [
        (TREE, [["Fruit", "Apple"]], "a level of a tree is a text"),
        (TREE, [{"a": 1}], "a level of a tree is a text"),
        (TREE, ["Fruit >"], "a level without a name"),
        (TREE, ["> Apple"], "a level without a name"),
        (TREE, ["", "Apple"], "a level is empty above one that is not"),
        (TREE, ["a", "", "c"], "a level is empty above one that is not"),
        (TREE, ["a > b", "c"], "separates the levels"),
        (Reading("tree", "/"), ["a > b/c"], "separates the levels"),
    ],
    ids=["list", "object", "open-end", "open-start", "no-top", "gap", "mark", "mark-and-slash"],
)
def test_a_path_that_is_none_says_why(reading: Reading, values: list[Any], says: str) -> None:
    assert says in str(reading.answer(values))


@given(st.lists(st.sampled_from(["a", "b>c", "ü", "1.5", "a b"]), min_size=1, max_size=4))
def test_a_path_reads_alike_in_one_column_and_in_many(names: list[str]) -> None:
    if len(names) == 1 and ">" in names[0]:
        return  # in one column this is a path of two levels
    whole, levels = TREE.answer([SEPARATOR.join(names)]), TREE.answer([*names, "", None])
    assert whole == levels == Answer((SEPARATOR.join(names),))


VOTES: dict[str, tuple[list[Any], dict[str, Any], dict[str, float] | None]] = {
    "step": (["3"], {}, {"3": 1}),
    "number": ([4.0], {}, {"4": 1}),
    "list": (["[0, 1, 0, 2, 0]"], {}, {"2": 1, "4": 2}),
    "object": (['{"5": 2, "1": 0}'], {}, {"5": 2}),
    "columns": ([0, "1", None, "", 2.5], {}, {"2": 1, "5": 2.5}),
    "nothing": ([""], {}, None),
    "no-votes-column": ([None, "", None, "", None], {}, None),
    "count-of-a-step": (["1"], {"count": 7}, {"1": 7}),
    "nobody-differed": (["3"], {"count": "4", "deviation": 0}, {"3": 4}),
    "half-way-and-certain": (["2.5"], {"count": 2, "deviation": 0.0}, {"2": 1, "3": 1}),
}


@pytest.mark.parametrize(("values", "more", "votes"), VOTES.values(), ids=VOTES)
def test_votes_are_read(
    values: list[Any], more: dict[str, Any], votes: dict[str, float] | None
) -> None:
    found = STARS.answer(values, **more)
    if votes is None:
        assert found is None
    else:
        assert isinstance(found, Answer)
        assert dict(found.votes) == pytest.approx(votes)


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        (["6"], {}, "6 is outside the scale, 1 to 5"),
        (["good"], {}, "'good' is not a number"),
        (["inf"], {}, "not a finite number"),
        (["[1, 2"], {}, "not a JSON list of votes"),
        (["[" * 20_000], {}, "not a JSON list of votes"),
        (["[1, 2]"], {}, "2 numbers of votes for 5 steps"),
        (["[0, 0, 0, 0, 0]"], {}, "the votes sum to 0"),
        (["[1, -1, 0, 0, 0]"], {}, "votes of step 2 must be a number of 0 or more, not -1"),
        (['[1, "x", 0, 0, 0]'], {}, "votes of step 2 must be a number of 0 or more, not 'x'"),
        (["[1, Infinity, 0, 0, 0]"], {}, "votes of step 2 must be a number of 0 or more"),
        (["[[1], 0, 0, 0, 0]"], {}, "votes of step 1 must be a number"),
        (['{"6": 1}'], {}, "'6' is no step of the scale 1, 2, 3, 4, 5"),
        (["3"], {"count": 0}, "the number of votes must be above 0, not 0"),
        (["3"], {"count": "many"}, "'many' is not a number"),
        (["3"], {"deviation": -1}, "deviation -1; it must be 0 or more"),
        (["3"], {"deviation": 3}, "at most 2"),
        (["1"], {"deviation": 1}, "not possible with mean 1"),
        (["1"], {"count": [3]}, "[3] is not a number"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_votes_that_are_none_say_why(values: list[Any], more: dict[str, Any], says: str) -> None:
    assert says in str(STARS.answer(values, **more))


@given(
    st.lists(st.floats(0.1, 5), min_size=1, max_size=9),
    st.integers(-5, 5),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_a_histogram_meets_its_mean_and_deviation(
    gaps: list[float], low: int, where: float, spread: float | None
) -> None:
    scale = tuple(float(v) for v in low + np.cumsum([0, *gaps]))
    mean = min(scale[0] + where * (scale[-1] - scale[0]), scale[-1])
    most = np.sqrt(max((mean - scale[0]) * (scale[-1] - mean), 0.0))
    deviation = None if spread is None else float(spread * most)
    shares = np.array(max_entropy(scale, mean, deviation))
    assert shares.min() >= -1e-12
    assert shares.sum() == pytest.approx(1)
    assert mean_of(scale, shares) == pytest.approx(mean, abs=1e-4 * (scale[-1] - scale[0]))
    if deviation is not None:
        found = np.sqrt(shares @ (np.array(scale) - mean) ** 2)
        nearest = np.sqrt(max_entropy(scale, mean, 0.0) @ (np.array(scale) - mean) ** 2)
        assert found == pytest.approx(max(deviation, nearest), abs=0.01 * (scale[-1] - scale[0]))


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_no_other_histogram_of_these_moments_has_more_entropy(seed: int, both: bool) -> None:
    rng = np.random.default_rng(seed)
    other = rng.dirichlet(np.ones(10))
    mean = float(other @ TEN)
    deviation = float(np.sqrt(other @ (np.array(TEN) - mean) ** 2)) if both else None

    def entropy(p: np.ndarray) -> float:
        return float(-(p * np.log(np.maximum(p, 1e-300))).sum())

    assert entropy(np.array(max_entropy(TEN, mean, deviation))) >= entropy(other) - 1e-6


def test_a_histogram_turns_round_with_its_scale() -> None:
    one, other = max_entropy(TEN, 3.2, 1.7), max_entropy(TEN, 7.8, 1.7)
    assert one == pytest.approx(other[::-1], abs=1e-6)


tree_votes = st.lists(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(SEPARATOR.join),
    min_size=1,
    max_size=6,
)


@given(tree_votes, st.randoms())
@settings(max_examples=60)
def test_people_agree_on_the_deepest_node_with_more_than_half_at_every_level(
    paths: list[str], random: Any
) -> None:
    said = [(i, Answer((path,))) for i, path in enumerate(paths)]
    label = consensus("tree", said)
    assert label is not None
    assert label == consensus("tree", random.sample(said, len(said)))
    assert label.n_annotators == len(paths)
    ways = [path.split(SEPARATOR) for path in paths]
    if not label.yes:
        assert set(label.tied) == set(paths)
        tops = [way[0] for way in ways]
        assert max(tops.count(name) for name in tops) * 2 <= len(tops)
        return
    agreed = label.yes[0].split(SEPARATOR)
    for depth in range(1, len(agreed) + 1):
        beside = [w for w in ways if len(w) >= depth and w[: depth - 1] == agreed[: depth - 1]]
        with_us = [w for w in beside if w[:depth] == agreed[:depth]]
        assert 2 * len(with_us) > len(beside)
    assert label.confidence == pytest.approx(len(with_us) / len(beside))
    below = [w[len(agreed)] for w in ways if w[: len(agreed)] == agreed and len(w) > len(agreed)]
    assert not below or 2 * max(map(below.count, below)) <= len(below)


steps = st.dictionaries(st.sampled_from("12345"), st.integers(1, 9), max_size=5)


@given(st.lists(steps, max_size=5))
def test_votes_of_all_people_are_added_up(people: list[dict[str, int]]) -> None:
    said = [(i, Answer((), votes=tuple(votes.items()))) for i, votes in enumerate(people)]
    label = consensus("score", said)
    total = {s: sum(p.get(s, 0) for p in people) for s in "12345" if any(s in p for p in people)}
    assert (label is None) == (not total)
    if label is not None:
        assert label.votes == tuple(total.items())
        assert not label.conflict


def rows_of(path: Path, **how: Any) -> list[Any]:
    return list(read_labels(path, **how).rows())


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_row_says_its_answer_nothing_or_what_is_wrong(tmp_path: Path, name: str) -> None:
    values = [("1.jpg", "a", "b"), ("2.jpg", "a", ""), ("3.jpg", "", ""), ("4.jpg", "", "b")]
    table = tmp_path / name
    if name.endswith("csv"):
        table.write_text("image,l1,l2\n" + "".join(f"{','.join(v)}\n" for v in values))
    else:
        objects = [dict(zip(("image", "l1", "l2"), v, strict=True)) for v in values]
        table.write_text("".join(json.dumps(o) + "\n" for o in objects))
    found = rows_of(table, kind="tree", label=["l1", "l2"])
    assert [type(row) for row in found] == [LabelRow, LabelRow, Unlabelled, RejectedRow]
    assert [row.answer.yes for row in found[:2]] == [("a > b",), ("a",)]
    assert "a level is empty above" in found[3].detail


def test_folders_are_nodes_or_steps_where_that_is_asked(tmp_path: Path) -> None:
    for name in ("1", "4", "nice"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    scores = rows_of(tmp_path, kind="score", scale=("1", "2", "3", "4"))
    assert [getattr(row, "answer", None) and row.answer.votes for row in scores] == [
        (("1", 1.0),), (("4", 1.0),), None,
    ]  # fmt: skip
    assert "'nice' is not a number" in scores[2].detail
    assert [row.answer.yes for row in rows_of(tmp_path, kind="tree")] == [("1",), ("4",), ("nice",)]


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"label": ["l1", "l2"]}, LabelError, "the kind is not stated"),
        ({"label": ["l1", "l2"], "kind": "single"}, LabelError, "the kind is single"),
        ({"kind": "score", "label": "l1"}, LabelError, "needs its scale"),
        (
            {"kind": "score", "label": ["l1", "l2"], "scale": ("1", "2", "3")},
            LabelError, "2 label columns for the 3 steps 1, 2, 3",
        ),
        ({"kind": "tree", "label": ["l1", "l3"]}, LabelError, "no column 'l3'.*'l1'"),
        ({"kind": "tree", "label": "l9"}, LabelError, "'l9'"),
        ({"kind": "tree"}, LabelError, "no column for the label"),
    ],
    ids=["no-kind", "single", "no-scale", "steps", "a-level", "the-column", "no-column"],
)  # fmt: skip
def test_columns_that_do_not_fit_the_kind_are_refused_first(
    tmp_path: Path, how: dict[str, Any], error: type[ConfigError], says: str
) -> None:
    (tmp_path / "t.csv").write_text("image,l1,l2\n1.jpg,a,b\n")
    with pytest.raises(error, match=says):
        read_labels(tmp_path / "t.csv", **how)
