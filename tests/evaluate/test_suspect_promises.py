"""The order of suspects and of unsure photos, which people work through from the top."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from listlens.core.types import Policy
from listlens.evaluate.suspects import UNDISPUTED, suspects, unsure

CLASSES = ("bath", "bed", "kitchen", "yard")
K = len(CLASSES)


def policy(at: float = 0.5) -> Policy:
    return Policy((at,) * K, (at,) * K, (at,) * K)


def names(n: int) -> list[str]:
    return [f"{i}.jpg" for i in range(n)]


def row(name: str) -> int:
    return int(name.removesuffix(".jpg"))


@st.composite
def single_tables(draw):
    n = draw(st.integers(1, 25))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(K) * 0.7, n)
    given_ = rng.integers(-1, K, n)
    return probs, given_, rng.integers(0, max(1, n * 2 // 3), n)


@st.composite
def multi_tables(draw):
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    return rng.random((n, K)), rng.integers(-1, 2, (n, K)), rng.integers(0, n, n)


def torn_rows(given_: np.ndarray, contents: np.ndarray) -> set[int]:
    """Labelled photos of whose content another label exists; looked up one by one."""
    return {
        i
        for i in range(len(given_))
        for j in range(len(given_))
        if contents[i] == contents[j]
        and -1 not in (given_[i], given_[j])
        and given_[i] != given_[j]
    }


@settings(max_examples=120, deadline=None)
@given(single_tables())
def test_conflicts_come_first_then_the_least_believed(table):
    probs, given_, contents = table
    found = suspects("single", CLASSES, probs, given_, names(len(probs)), contents)
    reasons = [s.reason for s in found]
    assert reasons == sorted(reasons)  # "conflict" before "model"
    assert {row(s.image) for s in found if s.reason == "conflict"} == torn_rows(given_, contents)
    believed = [s.probability for s in found if s.reason == "model"]
    assert believed == sorted(believed)
    assert all(p < UNDISPUTED for p in believed)


@settings(max_examples=120, deadline=None)
@given(single_tables())
def test_each_photo_is_named_once_with_its_own_label_and_probability(table):
    probs, given_, contents = table
    found = suspects("single", CLASSES, probs, given_, names(len(probs)), contents)
    rows = [row(s.image) for s in found]
    assert len(rows) == len(set(rows))
    for i, s in zip(rows, found, strict=True):
        assert s.given == CLASSES[given_[i]]
        assert s.suggested == CLASSES[probs[i].argmax()]
        assert s.probability == pytest.approx(probs[i, given_[i]], abs=1e-6)
        assert s.reason == "conflict" or s.suggested != s.given


@settings(max_examples=120, deadline=None)
@given(single_tables())
def test_every_label_that_the_model_disbelieves_is_listed(table):
    probs, given_, contents = table
    found = suspects("single", CLASSES, probs, given_, names(len(probs)), contents)
    expected = {
        i
        for i in np.flatnonzero(given_ >= 0)
        if probs[i, given_[i]] < UNDISPUTED and probs[i].argmax() != given_[i]
    }
    assert {row(s.image) for s in found} == expected | torn_rows(given_, contents)


@settings(max_examples=60, deadline=None)
@given(single_tables())
def test_photos_of_one_contradicted_content_stand_together(table):
    probs, given_, contents = table
    found = suspects("single", CLASSES, probs, given_, names(len(probs)), contents)
    order = [contents[row(s.image)] for s in found if s.reason == "conflict"]
    starts = [c for k, c in enumerate(order) if k == 0 or order[k - 1] != c]
    assert len(starts) == len(set(starts))


@settings(max_examples=80, deadline=None)
@given(multi_tables())
def test_multi_names_each_photo_once_by_an_answer_it_was_given(table):
    probs, given_, contents = table
    found = suspects("multi", CLASSES, probs, given_, names(len(probs)), contents)
    rows = [row(s.image) for s in found]
    assert len(rows) == len(set(rows))
    for i, s in zip(rows, found, strict=True):
        j = CLASSES.index(s.given.removeprefix("not "))
        assert given_[i, j] == (0 if s.given.startswith("not ") else 1)
        assert {s.given, s.suggested} == {CLASSES[j], f"not {CLASSES[j]}"}
        own = probs[i, j] if given_[i, j] else 1 - probs[i, j]
        assert s.probability == pytest.approx(own, abs=1e-6)
    assert [s.reason for s in found] == sorted(s.reason for s in found)


@settings(max_examples=80, deadline=None)
@given(multi_tables())
def test_multi_lists_exactly_what_is_contradicted_or_disbelieved(table):
    probs, given_, contents = table
    found = suspects("multi", CLASSES, probs, given_, names(len(probs)), contents)
    torn = set().union(*(torn_rows(given_[:, j], contents) for j in range(K)))
    own = np.where(given_ == 1, probs, np.where(given_ == 0, 1 - probs, 1.0))
    disbelieved = set(np.flatnonzero(own.min(axis=1) < UNDISPUTED).tolist())
    assert {row(s.image) for s in found if s.reason == "conflict"} == torn
    assert {row(s.image) for s in found} == torn | disbelieved


@settings(max_examples=40, deadline=None)
@given(single_tables(), st.integers(0, 10))
def test_a_limit_keeps_the_first(table, limit):
    probs, given_, contents = table
    whole = suspects("single", CLASSES, probs, given_, names(len(probs)), contents)
    part = suspects("single", CLASSES, probs, given_, names(len(probs)), contents, limit=limit)
    assert part == whole[:limit]


@given(single_tables())
def test_suspects_are_json(table):
    probs, given_, contents = table
    for s in suspects("single", CLASSES, probs, given_, names(len(probs)), contents):
        out = json.loads(json.dumps(s.as_dict(), allow_nan=False))
        assert list(out) == ["image", "given", "suggested", "probability", "reason"]


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_no_photos_have_no_suspects_and_none_unsure(kind):
    given_ = np.zeros((0,) if kind == "single" else (0, K), int)
    assert suspects(kind, CLASSES, np.zeros((0, K)), given_, [], []) == ()
    assert unsure(kind, CLASSES, np.zeros((0, K)), [], policy()) == ()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_planted_errors_are_found_on_data_a_model_can_learn(share, seed):
    """Four clusters, some labels moved; probabilities out of fold from a model that saw them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, 600)
    points = 3.2 * np.eye(K)[truth] + rng.normal(size=(600, K))
    given_ = truth.copy()
    planted = rng.choice(600, int(600 * share), replace=False)
    given_[planted] = (given_[planted] + rng.integers(1, K, len(planted))) % K
    model = LogisticRegression(C=0.1)
    probs = cross_val_predict(model, points, given_, cv=5, method="predict_proba")
    found = suspects("single", CLASSES, probs, given_, names(600), range(600), limit=len(planted))
    recall = len({row(s.image) for s in found} & set(planted.tolist())) / len(planted)
    assert recall >= 0.75
    corrected = [s.suggested == CLASSES[truth[row(s.image)]] for s in found]
    assert np.mean(corrected) >= 0.75


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_of_a_multi_task_are_found(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((400, K)) < 0.4
    probs = np.clip(np.where(truth, 0.9, 0.1) + rng.normal(0, 0.08, truth.shape), 0.01, 0.99)
    given_ = truth.astype(np.int8)
    planted = rng.choice(400, 20, replace=False)
    given_[planted, planted % K] ^= 1
    found = suspects("multi", CLASSES, probs, given_, names(400), range(400), limit=20)
    assert len({row(s.image) for s in found} & set(planted.tolist())) >= 19


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10**6))
def test_unsure_photos_come_by_rising_margin(n, seed):
    probs = np.random.default_rng(seed).dirichlet(np.ones(K), n)
    found = unsure("single", CLASSES, probs, names(n), policy(), limit=n)
    ranked = np.sort(probs, axis=1)
    margins = np.sort(ranked[:, -1] - ranked[:, -2])
    assert [u.margin for u in found] == pytest.approx(margins.tolist(), abs=1e-4)
    for u in found:
        first, second = u.likely
        assert first[1] >= second[1]
        assert u.margin == pytest.approx(first[1] - second[1], abs=2e-4)
        assert first[0] == CLASSES[probs[row(u.image)].argmax()]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_unsure_answers_are_near_their_threshold(n, seed, at):
    probs = np.random.default_rng(seed).random((n, K))
    found = unsure("multi", CLASSES, probs, names(n), policy(at), limit=n)
    distance = np.abs(probs - at).min(axis=1)
    assert [u.margin for u in found] == pytest.approx(np.sort(distance).tolist(), abs=1e-4)
    for u in found:
        assert abs(u.likely[0][1] - at) == pytest.approx(u.margin, abs=2e-4)


def test_two_classes_or_one_are_enough():
    (u,) = unsure("single", ("a", "b"), np.array([[0.6, 0.4]]), ["x"], policy())
    assert u.likely == (("a", 0.6), ("b", 0.4))
    one = Policy((0.5,), (0.5,), (0.5,))
    (u,) = unsure("multi", ("a",), np.array([[0.7]]), ["x"], one)
    assert (u.likely, u.margin) == ((("a", 0.7),), 0.2)


def test_an_unsure_photo_says_its_label_where_it_has_one():
    probs = np.full((2, K), 0.25)
    found = unsure("single", CLASSES, probs, names(2), policy(), given=["bed", ""])
    assert [u.as_dict()["given"] for u in found] == ["bed", ""]
    assert found[0].as_dict()["likely"][0] == {"class": "bath", "probability": 0.25}
