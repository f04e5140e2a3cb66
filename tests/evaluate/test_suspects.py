"""Wrong labels come first, and contradictions before everything."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.types import Policy
from listlens.evaluate.suspects import suspects, unsure

CLASSES = ("bath", "bed", "yard")


def believing(top, sure=0.9):
    probs = np.full((len(top), 3), (1 - sure) / 2)
    probs[np.arange(len(top)), top] = sure
    return probs


def names(n):
    return [f"{i}.jpg" for i in range(n)]


def test_labels_that_nothing_speaks_against_are_not_suspect():
    given = np.array([0, 1, 2])
    assert suspects("single", CLASSES, believing(given), given, names(3), range(3)) == ()


def test_the_least_believed_label_comes_first():
    probs = np.array([[0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]])
    found = suspects("single", CLASSES, probs, np.array([0, 0, 0]), names(3), range(3))
    assert [(s.image, s.given, s.suggested, s.reason) for s in found] == [
        ("1.jpg", "bath", "bed", "model"),
        ("0.jpg", "bath", "bed", "model"),
    ]
    assert found[0].probability == pytest.approx(0.05)


def test_conflicts_come_first_and_the_disbelieved_one_first_of_its_pair():
    probs = believing(np.array([1, 0, 0, 2]))
    given = np.array([0, 1, 0, 2])
    found = suspects("single", CLASSES, probs, given, names(4), [0, 7, 7, 3])
    assert [(s.image, s.reason) for s in found] == [
        ("1.jpg", "conflict"),
        ("2.jpg", "conflict"),
        ("0.jpg", "model"),
    ]
    assert found[1].given == found[1].suggested == "bath"


def test_photos_without_a_label_are_neither_suspect_nor_in_conflict():
    probs = believing(np.array([1, 1]))
    assert suspects("single", CLASSES, probs, np.array([-1, 1]), names(2), [4, 4]) == ()
    assert suspects("single", CLASSES, probs, np.array([-1, -1]), names(2), [4, 4]) == ()


def test_multi_names_the_least_believed_answer_of_each_photo():
    probs = np.array([[0.9, 0.1, 0.5], [0.2, 0.05, 0.97]])
    given = np.array([[1, 0, -1], [0, 1, 0]])
    found = suspects("multi", CLASSES, probs, given, names(2), range(2))
    assert [(s.image, s.given, s.suggested) for s in found] == [("1.jpg", "not yard", "yard")]


def test_multi_conflicts_are_per_class_and_unknown_contradicts_nothing():
    probs = np.array([[0.9, 0.5, 0.5], [0.9, 0.5, 0.5]])
    given = np.array([[1, -1, 0], [0, 1, 0]])
    found = suspects("multi", CLASSES, probs, given, names(2), [1, 1])
    assert [(s.image, s.given, s.reason) for s in found] == [
        ("1.jpg", "not bath", "conflict"),
        ("0.jpg", "bath", "conflict"),
    ]


def test_the_limit_holds_and_the_dict_has_the_promised_keys():
    probs = believing(np.ones(9, int))
    found = suspects("single", CLASSES, probs, np.zeros(9, int), names(9), range(9), limit=4)
    assert len(found) == 4
    assert set(found[0].as_dict()) == {"image", "given", "suggested", "probability", "reason"}


def test_planted_errors_are_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 1000)
    probs = believing(truth, 0.8) * rng.uniform(0.8, 1.2, (1000, 3))
    probs /= probs.sum(1, keepdims=True)
    given = truth.copy()
    given[:50] = (given[:50] + 1) % 3
    found = suspects("single", CLASSES, probs, given, names(1000), range(1000), limit=50)
    assert sum(int(s.image.split(".")[0]) < 50 for s in found) >= 48


def test_unsure_photos_are_those_with_the_smallest_margin():
    policy = Policy((0.5,) * 3, (0.5,) * 3, (0.5,) * 3)
    probs = np.array([[0.9, 0.05, 0.05], [0.4, 0.45, 0.15]])
    first, last = unsure("single", CLASSES, probs, names(2), policy, given=["bath", ""])
    assert (first.image, first.likely[0][0], first.margin) == ("1.jpg", "bed", 0.05)
    assert last.as_dict()["given"] == "bath"


def test_unsure_of_multi_is_nearness_to_the_threshold():
    policy = Policy((0.5, 0.2, 0.5), (0.5, 0.2, 0.5), (0.5, 0.2, 0.5))
    probs = np.array([[0.9, 0.21, 0.05], [0.6, 0.9, 0.9]])
    first, _ = unsure("multi", CLASSES, probs, names(2), policy)
    assert (first.image, first.likely[0][0]) == ("0.jpg", "bed")
