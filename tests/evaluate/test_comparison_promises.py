"""What `compare` promises of every kind: no more sure than the listings, and every answer once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from listlens.core.types import Estimate
from listlens.evaluate.compare_page import SHOWN, sentence, write_comparison
from listlens.evaluate.comparison import MOVED, Comparison, Flip, Side, compare
from listlens.evaluate.evaluation import METRICS
from listlens.evaluate.wording import METRIC_NAMES

KINDS = tuple(METRICS)
CLASSES = {
    "single": ("bath", "bed", "kitchen"),
    "multi": ("bath", "bed", "kitchen"),
    "tree": ("Room", "Room > Bath", "Room > Bed", "Garden"),
    "score": ("1", "2", "3"),
}
LEAVES = ("Room > Bath", "Room > Bed", "Garden")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='x'>",
    "a|b & c",
    "x" * 3000,
    "沙发 диван أريكة",
    "{{ 7 * 7 }}",
)


def truth_of(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "score":
        return np.asarray(rng.dirichlet(np.ones(3), n))
    if kind == "multi":
        return np.asarray(rng.integers(-1, 2, (n, 3)))
    return np.asarray(rng.integers(-1, len(CLASSES[kind]), n))


def side(kind: str, version: int, probs: Any, classes: tuple[str, ...] | None = None) -> Side:
    table = np.asarray(probs, np.float64)
    known = classes or (LEAVES if kind == "tree" else CLASSES[kind])
    return Side(version, known, table, table > 0.5)


def compared(kind: str, n: int = 40, seed: int = 0, listings: Any = None) -> Comparison:
    rng = np.random.default_rng(seed)
    truth = truth_of(kind, n, rng)
    sides = tuple(side(kind, v, rng.dirichlet(np.ones(3), n)) for v in (1, 2))
    names = [f"{i}.jpg" for i in range(n)]
    where = np.arange(n) // 2 if listings is None else listings
    return compare(kind, CLASSES[kind], truth, names, where, sides, n_resamples=100)


@pytest.mark.parametrize("kind", ["single", "multi", "tree"])
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_every_known_answer_is_right_in_both_in_neither_or_flips(kind, seed) -> None:
    found = compared(kind, seed=seed)
    truth = truth_of(kind, 40, np.random.default_rng(seed))
    n = found.n_both_right + found.n_both_wrong + len(found.mended) + len(found.broken)
    assert n == (truth >= 0).sum()
    assert found.unit == ("answers" if kind == "multi" else "photos")
    for flips in (found.mended, found.broken):
        sizes = [abs(flip.size) for flip in flips]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6))
def test_swapping_the_models_swaps_all_that_is_said_of_them(kind, seed) -> None:
    rng = np.random.default_rng(seed)
    truth = truth_of(kind, 30, rng)
    one, two = (side(kind, v, rng.dirichlet(np.ones(3), 30)) for v in (1, 2))
    names, listings = [str(i) for i in range(30)], np.arange(30) // 3
    there, back = (
        compare(kind, CLASSES[kind], truth, names, listings, pair, n_resamples=100)
        for pair in ((one, two), (two, one))
    )
    assert (back.first, back.second) == (there.second, there.first)
    assert back.verdict == there.verdict.replace(
        "Model 1 and model 2", "Model 2 and model 1"
    )  # who is better does not depend on who comes first
    assert [f.image for f in back.broken] == [f.image for f in there.mended]
    assert back.chance == there.chance


@pytest.mark.parametrize("kind", KINDS)
def test_one_listing_decides_nothing_however_many_photos_it_has(kind) -> None:
    n = 40
    rng = np.random.default_rng(3)
    truth = np.abs(truth_of(kind, n, rng))
    right = {
        "single": np.eye(3)[truth % 3] if kind == "single" else None,
        "multi": np.where(truth == 1, 0.9, 0.1) if kind == "multi" else None,
        "tree": np.eye(3)[np.clip(truth - 1, 0, 2)] if kind == "tree" else None,
        "score": truth,
    }[kind]
    wrong = rng.dirichlet(np.ones(3), n)
    sides = side(kind, 1, wrong), side(kind, 2, right)
    names = [str(i) for i in range(n)]
    found = compare(kind, CLASSES[kind], truth, names, np.zeros(n), sides)
    assert found.n_listings == 1
    assert found.gain.value > 0.2
    assert "cannot be told apart" in found.verdict
    many = compare(kind, CLASSES[kind], truth, names, np.arange(n), sides)
    assert many.verdict == "Model 2 is better than model 1."


@pytest.mark.parametrize("n_listings", [2, 5, 50])
def test_all_mended_is_not_certain_and_surer_the_more_listings(n_listings) -> None:
    truth = np.zeros(n_listings, int)
    sides = side("single", 1, np.eye(3)[truth + 1]), side("single", 2, np.eye(3)[truth])
    names, at = ["x"] * n_listings, np.arange(n_listings)
    for pair, sign in ((sides, 1), (sides[::-1], -1)):
        gain = compare("single", CLASSES["single"], truth, names, at, pair).gain
        near, far = sorted((gain.low, gain.high), key=abs)
        assert far == gain.value == sign
        assert abs(near) == pytest.approx(n_listings / (n_listings + 3.8415), abs=1e-4)  # Wilson


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_reads_back_and_holds_no_nan(kind) -> None:
    found = compared(kind)
    told = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert told["metric"] == METRICS[kind]
    assert (told["n_mended"], told["n_broken"]) == (len(found.mended), len(found.broken))
    assert set(told["gain"]) == {"value", "low", "high", "n"}
    assert [Flip(**flip) for flip in told["mended"]] == list(found.mended)
    assert told["verdict"] == found.verdict


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_photo_is_compared_and_decides_nothing(kind) -> None:
    truth = {"score": [[0, 0, 1.0]], "multi": [[1, 0, -1]]}.get(kind, [1])
    pair = side(kind, 1, [[0.8, 0.1, 0.1]]), side(kind, 2, [[0.1, 0.1, 0.8]])
    found = compare(kind, CLASSES[kind], np.array(truth), ["a"], np.arange(1), pair)
    assert found.n == 1
    assert found.verdict.startswith(("Too few answers", "Model 1 and model 2 cannot be told"))
    assert sentence(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_rank_correlation_of_equal_scores_is_undefined_and_said_to_be() -> None:
    truth = np.eye(3)[[0, 1, 2, 2]]
    flat = side("score", 1, np.full((4, 3), 1 / 3))
    found = compare("score", CLASSES["score"], truth, list("abcd"), np.arange(4),
                    (flat, side("score", 2, truth)))  # fmt: skip
    assert (found.first, found.gain) == (None, None)
    assert found.second.value == 1
    assert found.verdict == "Too few answers to say whether model 1 or model 2 is better."
    assert sentence(found) == "Rank correlation (SRCC) is not defined on 4 photos."
    assert found.as_dict()["gain"] is None


def test_models_that_share_no_class_of_many_have_nothing_to_compare_by() -> None:
    given = np.array([[1, 0], [0, 1], [1, 1]])
    one = side("multi", 1, [[0.9], [0.1], [0.8]], ("bath",))
    two = side("multi", 2, [[0.2], [0.7], [0.6]], ("bed",))
    found = compare("multi", ("bath", "bed"), given, list("abc"), np.arange(3), (one, two))
    assert found.only_in == {1: ("bath",), 2: ("bed",)}
    assert (found.first, found.gain, found.mended, found.broken) == (None, None, (), ())
    assert found.verdict.startswith("Too few answers")


def test_a_class_of_many_that_one_model_lacks_counts_for_neither() -> None:
    given = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    full = side("multi", 2, np.where(given, 0.9, 0.1))
    short = side("multi", 1, np.where(given, 0.9, 0.1)[:, :2], ("bath", "bed"))
    found = compare("multi", CLASSES["multi"], given, list("abcd"), np.arange(4), (short, full))
    assert found.n_both_right == 8
    assert found.first == found.second
    assert found.only_in == {2: ("kitchen",)}


@pytest.mark.parametrize(
    ("label", "said", "right"),
    [
        ("Room", "Room > Bath", True),
        ("Room > Bath", "Room > Bath", True),
        ("Room > Bath", "Room > Bed", False),
        ("Room", "Garden", False),
        ("Garden", "Garden", True),
    ],
    ids=["below", "same", "sibling", "elsewhere", "top"],
)
def test_an_answer_in_a_tree_is_right_at_or_below_its_label(label, said, right) -> None:
    truth = np.array([CLASSES["tree"].index(label)])
    probs = np.eye(3)[[LEAVES.index(said)]]
    found = compare("tree", CLASSES["tree"], truth, ["a"], np.arange(1),
                    (side("tree", 1, probs), side("tree", 2, probs)))  # fmt: skip
    assert (found.n_both_right, found.n_both_wrong) == ((1, 0) if right else (0, 1))


@pytest.mark.parametrize(("moved", "flips"), [(0.9, 0), (1.1, 1)], ids=["short", "far"])
def test_a_score_flips_from_a_tenth_of_the_scale(moved, flips) -> None:
    share = moved * MOVED  # of the way from step 1 to step 3
    truth = np.array([[1.0, 0, 0]])
    near, far = [[1.0, 0, 0]], [[1 - share, 0, share]]
    found = compare("score", CLASSES["score"], truth, ["a"], np.arange(1),
                    (side("score", 1, far), side("score", 2, near)))  # fmt: skip
    assert (len(found.mended), len(found.broken)) == (flips, 0)
    if flips:
        assert found.mended[0].size == pytest.approx(share)
        assert (found.mended[0].given, found.mended[0].second) == ("1.00", "1.00")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("single", [-1, -1]),
        ("multi", [[-1, -1, -1]] * 2),
        ("tree", [-1, -1]),
        ("score", [[np.nan] * 3] * 2),
    ],
    ids=KINDS,
)
def test_without_a_known_answer_there_is_nothing_to_compare_on(kind, given) -> None:
    pair = tuple(side(kind, v, np.full((2, 3), 1 / 3)) for v in (1, 2))
    with pytest.raises(ValueError, match="no photo to compare on has a known answer"):
        compare(kind, CLASSES[kind], np.array(given), ["a", "b"], np.arange(2), pair)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.2, "Model 2 is better than model 1."),
        (-0.2, -0.01, "Model 1 is better than model 2."),
        (0.0, 0.2, "Model 1 and model 2 cannot be told apart on these photos."),
        (-0.1, 0.1, "Model 1 and model 2 cannot be told apart on these photos."),
    ],
    ids=["better", "worse", "touches", "holds"],
)
def test_better_is_said_only_where_the_interval_leaves_out_nought(low, high, words) -> None:
    gain = Estimate((low + high) / 2, low, high, 40)
    assert replace(compared("single"), gain=gain).verdict == words


def page_of(found: Comparison, tmp_path: Any, task: str = "room", picture: Any = None) -> str:
    facts = {"task": task, "protocol": "the test split", **found.as_dict()}
    write_comparison(tmp_path / "c.html", facts, found, lambda name: picture)
    assert json.loads((tmp_path / "c.json").read_text("utf-8")) == facts
    return str((tmp_path / "c.html").read_text("utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_page_with_a_named_headline(kind, tmp_path) -> None:
    found = compared(kind)
    html = page_of(found, tmp_path, picture=b"jpeg")
    assert METRIC_NAMES[found.metric] in html
    assert f"mended {found.unit}" in html
    assert html.count("<img") == len(found.mended) + len(found.broken)
    assert ("rated" in html) == (kind == "score")
    assert "nan" not in html


@pytest.mark.parametrize(
    "name", HOSTILE, ids=["tag", "quotes", "bar", "long", "alphabets", "jinja"]
)
def test_names_of_photos_classes_and_tasks_are_text(name, tmp_path) -> None:
    classes = (name, "other")
    probs = np.eye(2)
    pair = Side(1, classes, probs[::-1], probs > 0), Side(2, (*classes, f"{name} too"),
                np.eye(3)[:2], np.eye(3)[:2] > 0)  # fmt: skip
    found = compare("single", classes, np.array([0, 1]), [name, "b"], np.arange(2), pair)
    html = page_of(found, tmp_path, task=name)
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "{{" not in html.replace(name, "")
    assert str(escape(name)) in html
    assert "Only model 2 knows" in html


@pytest.mark.parametrize("n", [0, 1, SHOWN, SHOWN + 1])
def test_a_page_shows_the_largest_flips_and_the_json_all(n, tmp_path) -> None:
    flips = tuple(Flip(f"p{i}.jpg", "bed", "bath", "bed", 1 - i / 100) for i in range(n))
    found = replace(compared("single"), mended=flips, broken=())
    html = page_of(found, tmp_path)
    assert html.count("no picture") == min(n, SHOWN)
    assert (f"The {SHOWN} largest changes of {n}; compare.json has all." in html) == (n > SHOWN)
    assert html.count("<p>None.</p>") == (1 if n else 2)
    assert len(json.loads((tmp_path / "c.json").read_text("utf-8"))["mended"]) == n
