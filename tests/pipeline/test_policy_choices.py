"""What other thresholds would do, against counting photo by photo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import NotFoundError
from listlens.core.types import EmbeddingSpace, Policy
from listlens.learn.policies import decide
from listlens.pipeline.models import LiveModel
from listlens.pipeline.policy_choices import AIMS, THRESHOLDS, _effects, _tried
from listlens.pipeline.thresholds import Held

NAMES = ("bed", "bath", "attic")
SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


def model(kind: Any, policy: Policy) -> LiveModel:
    return LiveModel("room", kind, NAMES, 1, 1, policy, SPACE, lambda x: x)


def held(kind: str, n: int = 200) -> Held:
    rng = np.random.default_rng(3)
    probs = rng.dirichlet((1, 1, 1), n)
    given = rng.integers(-1, 2, (n, 3)) if kind == "multi" else probs.argmax(1)
    if kind == "single":
        wrong = rng.random(n) < 0.3
        given = np.where(wrong, (given + 1) % 3, given)
    return Held(probs, probs, given, np.arange(n), np.zeros(n, bool))


def counted(rows: Held, one: LiveModel, policy: Policy, name: str) -> tuple[int, int, int, int]:
    """Labelled, given alone, right and reviewed, one decision after the other."""
    n = n_given = n_right = n_review = 0
    c = NAMES.index(name)
    for probs, truth in zip(rows.probs, rows.given, strict=True):
        (said,) = decide(probs[None], policy, one.kind, NAMES)
        n_review += said.review
        if one.kind == "single":
            has, sure = truth == c, name in said.classes and not said.review
        else:
            has = truth[c] == 1
            inside = policy.review_below[c] <= probs[c] < policy.review_above[c]
            sure = name in said.classes and not inside and truth[c] >= 0
        n, n_given, n_right = n + has, n_given + sure, n_right + (has and sure)
    return n, n_given, n_right, n_review


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_class_is_counted_as_photo_by_photo(kind: str) -> None:
    mid = (0.5, 0.6, 0.7)
    wide = ((0.4, 0.5, 0.6), (0.6, 0.7, 0.8)) if kind == "multi" else (mid, mid)
    policy, rows = Policy(mid, *wide), held(kind)
    one = model(kind, policy)
    for effect in _effects(rows, one, policy, range(3)):
        found = (effect.n, effect.n_given, effect.n_right, effect.n_review)
        assert found == counted(rows, one, policy, effect.name)
        assert effect.precision == effect.n_right / effect.n_given
        assert effect.recall == effect.n_right / effect.n


def test_a_higher_threshold_gives_less_and_asks_a_person_more() -> None:
    none = (0.0, 0.0, 0.0)
    rows = held("single")
    tried = _tried(rows, model("single", Policy(none, none, none)), "bath")
    assert [row["threshold"] for row in tried] == list(THRESHOLDS)
    assert {row["n"] for row in tried} == {int((rows.given == 1).sum())}
    given, review = ([row[key] for row in tried] for key in ("n_given", "n_review"))
    assert given == sorted(given, reverse=True) and given[0] > given[-1]
    assert review == sorted(review) and review[-1] > review[0]
    assert given[0] + review[0] == given[-1] + review[-1]  # who is not sure goes to a person


def test_a_class_that_is_never_given_has_no_precision() -> None:
    never = (1.0, 1.0, 1.0)
    rows, one = held("single"), model("single", Policy(never, never, never))
    told = [effect.as_dict() for effect in _effects(rows, one, one.policy, [0])]
    assert (told[0]["n_given"], told[0]["precision"], told[0]["recall"]) == (0, None, 0.0)


def test_choices_say_of_each_aim_what_setting_it_would(trained: Any) -> None:
    with listlens.open(trained) as project:
        choices = project.policy_choices("label", "disc")
        assert [one["target"] for one in choices["aims"]] == list(AIMS)
        for aim in choices["aims"]:
            plan = project.set_policy("label", target=aim["target"], dry_run=True)
            assert plan.after.n_review == aim["n_review"] and plan.after.n_wrong == aim["n_wrong"]
            assert plan.before.n_review == choices["in_force"]["n_review"]
        assert choices["n_labelled"] == 36 and len(choices["tried"]) == len(THRESHOLDS)
        with pytest.raises(NotFoundError, match="disc"):
            project.policy_choices("label", "disk")
        with pytest.raises(NotFoundError):
            project.policy_choices("lable")
