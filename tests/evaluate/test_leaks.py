"""Photos that leak are counted, and left out once more."""

from __future__ import annotations

import numpy as np
import pytest

from listlens.core.types import Policy
from listlens.evaluate.evaluation import Evaluation, Predicted, evaluate, unscored
from listlens.evaluate.leaks import leaks_as_dict, with_and_without
from listlens.evaluate.scores import PredictedScores, evaluate_scores

SAME = (0.5, 0.5)
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])


def flat(targets=(0, 1, 1, 0)) -> Predicted:
    return Predicted(
        "single", ("bed", "sofa"), PROBS, np.array(targets), np.arange(4), Policy(SAME, SAME, SAME)
    )


def rated() -> PredictedScores:
    return PredictedScores(("1", "2"), (1.0, 2.0), PROBS, PROBS[::-1].copy(), np.arange(4))


@pytest.mark.parametrize("leaking", [None, [False] * 4], ids=["none given", "none leaks"])
def test_without_leaks_there_is_one_evaluation(leaking):
    found = evaluate(flat(), leaking=leaking)
    assert (found.n_leaking, found.without_leaks) == (0, None)
    assert leaks_as_dict(found) == {}
    assert "leaking" not in found.as_dict()


@pytest.mark.parametrize("judge", [lambda **a: evaluate(flat(), **a),
                                   lambda **a: evaluate_scores(rated(), **a)],
                         ids=["classes", "scores"])  # fmt: skip
def test_the_others_are_judged_as_if_nothing_else_were_there(judge):
    found = judge(leaking=[False, False, True, False])
    assert (found.n, found.n_leaking) == (4, 1)
    assert found.without_leaks is not None
    assert found.without_leaks.n == 3
    told = found.as_dict()["leaking"]
    assert told["n"] == 1
    assert set(told["without"]) == {"n", found.metric}


def test_where_all_leak_no_number_is_left():
    found = evaluate(flat(), leaking=[True] * 4)
    assert (found.n_leaking, found.without_leaks) == (4, None)
    assert "leaking" not in found.as_dict()


def test_a_leak_without_a_known_answer_does_not_count():
    found = evaluate(flat((0, 1, -1, 0)), leaking=[False, False, True, False])
    assert (found.n, found.n_leaking) == (3, 0)


def test_each_part_is_judged_once():
    asked = []

    def judged(some: np.ndarray) -> Evaluation:
        asked.append(some.tolist())
        return unscored(flat())

    with_and_without(judged, np.array([True, False, True]), [True, True, False])
    assert asked == [[True, True], [False, True]]


def test_what_nothing_was_held_out_of_has_no_number():
    found = unscored(flat())
    assert (found.n, found.accuracy, found.headline, found.kind) == (0, None, None, "single")
