"""What thresholds do, counted by hand; and what is told of changes, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.types import EmbeddingSpace, Policy
from listlens.learn.policies import decide
from listlens.pipeline.class_changes import ClassChange
from listlens.pipeline.models import LiveModel
from listlens.pipeline.moved import Moved
from listlens.pipeline.thresholds import BY_HAND, Effect, Held, PolicyResult, _effect, by_hand

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)
NAMES = ("attic", "bath", "cellar")
TREE = ("In > Attic", "In > Bath", "Out")


def model(kind: Any, classes: tuple[str, ...], policy: Policy) -> LiveModel:
    return LiveModel("room", kind, classes, 1, 1, policy, SPACE, lambda e: e)  # type: ignore[arg-type,return-value]


def flat(at: float, k: int = 3) -> Policy:
    return Policy((at,) * k, (at,) * k, (at,) * k)


def drawn(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([0.7] * 3, n)


@pytest.mark.parametrize("at", [0.0, 0.4, 0.7, 1.0])
def test_what_goes_to_a_person_and_what_is_wrong_without_one_single(at: float) -> None:
    probs, truth = drawn(50, 1), np.random.default_rng(2).integers(0, 3, 50)
    policy = flat(at)
    found = _effect(probs, truth, policy, model("single", NAMES, policy))
    decisions = decide(probs, policy, "single", NAMES)
    alone = [(d, t) for d, t in zip(decisions, truth, strict=True) if not d.review]
    wrong = sum(d.classes[0] != NAMES[t] for d, t in alone)
    assert found == Effect(50, 50 - len(alone), len(alone), wrong)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.95])
def test_a_node_that_holds_the_label_is_right(at: float) -> None:
    probs = drawn(60, 3)
    policy = flat(at)
    paths = ("In", "In > Attic", "In > Bath", "Out")
    truth = np.random.default_rng(4).integers(0, 4, 60)
    found = _effect(probs, truth, policy, model("tree", TREE, policy))
    wrong = alone = 0
    for decision, at_node in zip(decide(probs, policy, "tree", TREE), truth, strict=True):
        if decision.review:
            continue
        alone += 1
        said = decision.classes[0] if decision.classes else None
        held = said is not None and (paths[at_node] + " > ").startswith(said + " > ")
        wrong += not held
    assert (found.n_alone, found.n_wrong) == (alone, wrong)


def test_any_number_of_classes_counts_each_answer_and_leaves_unknown_ones_out() -> None:
    probs = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]])
    truth = np.array([[1, 0, -1], [1, 1, 0]])
    policy = Policy((0.5,) * 3, (0.4,) * 3, (0.6,) * 3)
    found = _effect(probs, truth, policy, model("multi", NAMES, policy))
    # Row 1: 0.9 yes, right; 0.5 for a person; the third is unknown. Row 2: 0.2 no, wrong; 0.8 yes,
    # right; 0.7 yes, wrong.
    assert found == Effect(2, 1, 4, 2)


def test_by_hand_one_threshold_moves_and_the_others_stay() -> None:
    before = Policy((0.5, 0.6, 0.7), (0.4, 0.5, 0.6), (0.6, 0.7, 0.8), "best-f1")
    multi = by_hand(before, model("multi", NAMES, before), {"bath": 0.9})
    assert (multi.thresholds, multi.review_below[1], multi.review_above[1]) == (
        (0.5, 0.9, 0.7), 0.5, 0.9
    )  # fmt: skip
    assert multi.target == BY_HAND
    single = flat(0.5)
    moved = by_hand(single, model("single", NAMES, single), {"bath": 0.9, "attic": 0.1})
    assert moved.thresholds == moved.review_below == moved.review_above == (0.1, 0.9, 0.5)
    assert by_hand(before, model("multi", NAMES, before), {}) is before


@given(
    values=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1),
    kind=st.sampled_from(["single", "multi"]),
    low=st.floats(0, 0.5),
    high=st.floats(0.5, 1),
)
@settings(max_examples=60, deadline=None)
def test_any_threshold_by_hand_makes_a_policy_that_holds_together(
    values: dict[str, float], kind: str, low: float, high: float
) -> None:
    before = Policy((0.5,) * 3, (low,) * 3, (high,) * 3)
    made = by_hand(before, model(kind, NAMES, before), values)  # Policy checks itself
    assert {n: made.thresholds[NAMES.index(n)] for n in values} == values


def held(probs: np.ndarray, truth: np.ndarray, groups: np.ndarray, test: np.ndarray) -> Held:
    return Held(probs, probs, truth, groups, test)


def test_without_a_test_split_each_fold_is_judged_by_thresholds_of_the_others() -> None:
    probs, truth = drawn(40, 5), np.random.default_rng(6).integers(0, 3, 40)
    groups = np.repeat(np.arange(10), 4)
    asked: list[int] = []

    def choose(p: np.ndarray, g: np.ndarray) -> Policy:
        asked.append(len(p))
        return flat(0.5)

    found = held(probs, truth, groups, np.zeros(40, bool)).effect(choose, model(
        "single", NAMES, flat(0.5)))  # fmt: skip
    assert asked == [32] * 5  # 8 of 10 groups of 4
    assert found == _effect(probs, truth, flat(0.5), model("single", NAMES, flat(0.5)))


def test_a_test_split_judges_and_chooses_nothing() -> None:
    probs, truth = drawn(40, 7), np.random.default_rng(8).integers(0, 3, 40)
    test = np.arange(40) >= 30
    asked: list[int] = []

    def choose(p: np.ndarray, g: np.ndarray) -> Policy:
        asked.append(len(p))
        return flat(0.6)

    found = held(probs, truth, np.arange(40), test).effect(choose, model(
        "single", NAMES, flat(0.6)))  # fmt: skip
    assert asked == [30]
    assert found == _effect(probs[test], truth[test], flat(0.6), model("single", NAMES, flat(0.6)))


def test_one_group_alone_still_says_something() -> None:
    probs, truth = drawn(5, 9), np.zeros(5, int)
    found = held(probs, truth, np.zeros(5, np.int64), np.zeros(5, bool)).effect(
        lambda p, g: flat(0.5), model("single", NAMES, flat(0.5))
    )
    assert found.n == 5


def test_a_result_says_what_it_does_to_people_s_work_and_to_errors() -> None:
    before, after = Effect(100, 10, 90, 9), Effect(100, 30, 70, 0)
    found = PolicyResult("room", 3, 2, "error<=0.02", {"a": 0.5}, before, after, 1200, 3400, 10_000)
    said = found.text()
    assert "Policy 2 of model 3 of 'room' is in force: error<=0.02." in said
    assert "3,400 of 10,000, before 1,200" in said
    assert "30 of 100, and 0.0 % of the 70 answers" in said
    assert "10 of 100, and 10.0 % of the 90 answers" in said
    assert found.as_dict()["after"]["n_wrong"] == 0
    assert Effect(5, 5, 0, 0).text().endswith("0.0 % of the 0 answers given without one are wrong")


MOVES: dict[str, tuple[Moved, str]] = {
    "promoted": (
        Moved("room", "promoted", 2, "live", 1, 2, answered=5),
        "Back: listlens models rollback room",
    ),
    "already": (Moved("room", "promoted", 2, "live", 2, 2), "answers already: nothing changed"),
    "dry": (
        Moved("room", "promoted", 2, "live", 1, 2, dry_run=True, to_answer=7),
        "without its answer: 7",
    ),
    "restored": (Moved("room", "restored", 1, "live", 2, 1), "answers again, instead of model 2"),
    "shadowed": (Moved("room", "shadowed", 2, "shadow", 1, 1), "never given out"),
    "canary": (Moved("room", "canary", 2, "candidate", 1, 1, share=0.05), "answers 5 % of"),
    "recalled": (Moved("room", "recalled", 2, "candidate", 1, 1), "it answers nothing"),
    "retired": (
        Moved("room", "retired", 1, "retired", 2, 2, swept={"n_predictions": 3, "n_vectors": 4}),
        "Removed: 3 stored answers, 4 embeddings.",
    ),
}


@pytest.mark.parametrize(("moved", "said"), MOVES.values(), ids=MOVES)
def test_a_change_is_told_in_words(moved: Moved, said: str) -> None:
    assert said in moved.text()
    assert moved.text().startswith("Nothing was changed") == moved.dry_run
    assert moved.as_dict()["task"] == "room"


def test_a_change_of_classes_says_what_becomes_of_labels_and_of_the_model() -> None:
    classes = ("a", "b")
    merged = ClassChange("room", "Merged x, y into a", 3, classes, 12, 2, True)
    assert "12 answers read as the new class" in merged.text()
    assert "Model 2 goes on answering with the classes it learnt" in merged.text()
    split = ClassChange("room", "Split x into a, b", 3, classes, 12, None, True, lost=True)
    assert "12 answers say nothing" in split.text()
    assert "goes on answering" not in split.text()
    renamed = ClassChange("room", "Renamed x to a", 3, classes, 0, 2, False)
    assert renamed.text() == "Renamed x to a. Classes of 'room': a, b."
