"""A network that learnt from photos is judged on listings that it never saw, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from listlens.core.errors import TrainingError
from listlens.finetune.compare import compare, decide, part
from listlens.learn.candidates import TrainOptions
from listlens.learn.dataset import TrainingSet
from listlens.learn.recipe import Trained, train

K, D = 3, 12


def make(n: int = 400, noise: float = 3.0, *, split: bool = False, kind: str = "single") -> Any:
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, n)
    x = np.eye(K, D)[y] * 4 + noise * rng.normal(size=(n, D))
    groups = np.arange(n) // 2
    sides = np.array(["train"] * 6 + ["val"] * 2 + ["test"] * 2)[groups % 10]
    targets: Any = y
    if kind == "multi":
        targets = (y[:, None] == np.arange(K)).astype(np.int8)
    if kind == "score":
        targets = np.eye(K, dtype=np.float32)[y]
    return TrainingSet(
        kind,  # type: ignore[arg-type]
        tuple("123"),
        x.astype(np.float32),
        targets,
        groups,
        groups,
        sides if split else np.full(n, "", "<U5"),
        tuple(map(str, range(n))),
    )


@pytest.mark.parametrize("split", [False, True], ids=["no split", "own split"])
def test_no_listing_is_in_two_parts_and_none_of_test_in_any(split: bool) -> None:
    data = make(split=split)
    parts = part(data)
    sides = [parts.learn, parts.halves == 0, parts.halves == 1, data.given_split == "test"]
    for i, one in enumerate(sides):
        for other in sides[i + 1 :]:
            assert not set(data.groups[one]) & set(data.groups[other])
    assert np.array_equal(parts.apart, parts.halves >= 0)
    assert parts.learn.sum() > 2 * parts.apart.sum()
    if split:
        assert np.array_equal(parts.apart, data.given_split == "val")


@pytest.mark.parametrize("split", [False, True], ids=["no split", "own split"])
def test_of_very_many_photos_only_so_many_stay_apart(
    split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are held in memory; the rest of a val split of one's own is not learnt from either."""
    monkeypatch.setattr("listlens.finetune.compare.MOST_APART", 50)
    data = make(split=split)
    parts = part(data)
    assert 40 <= parts.apart.sum() <= 55
    assert parts.learn.sum() == (240 if split else 400 - parts.apart.sum())
    assert not set(data.groups[parts.apart]) & set(data.groups[parts.learn])
    assert not (parts.learn & (data.given_split == "val")).any()


def test_photos_that_share_a_picture_with_test_are_not_learnt_from() -> None:
    data = make(split=True)
    groups = data.groups.copy()
    leak = np.flatnonzero(data.given_split == "train")[:2]
    groups[leak] = groups[np.flatnonzero(data.given_split == "test")[0]]
    parts = part(replace(data, groups=groups))
    assert not parts.learn[leak].any()


def test_too_few_photos_are_told_what_is_needed() -> None:
    with pytest.raises(TrainingError, match="40 photos of 8 other listings must stay apart"):
        part(make(60))


@pytest.mark.parametrize("split", [False, True], ids=["no split", "own split"])
def test_photos_that_the_network_learnt_from_are_never_held_out(split: bool) -> None:
    """Even embeddings that give their answers away leave the reported numbers as they were."""
    data = make(split=split)
    parts = part(data)
    honest = train(replace(data, seen=parts.learn))
    assert np.array_equal(np.isnan(honest.oof_probs[:, 0]), parts.learn)
    assert honest.protocol == ("own split" if split else "held-out part")
    rows, probs = honest.heldout()
    assert not parts.learn[rows].any()
    assert np.isfinite(probs).all()
    leaky = data.embeddings.copy()
    leaky[parts.learn] = np.eye(K, D)[data.targets[parts.learn]] * 40
    spoilt = train(replace(data, embeddings=leaky, seen=parts.learn))
    answers, before = spoilt.heldout()[1].argmax(1), probs.argmax(1)
    right, was = (answers == data.targets[rows]).mean(), (before == data.targets[rows]).mean()
    assert right < was + 0.05


def heads(data: TrainingSet, noise: float) -> tuple[Trained, Trained]:
    """On embeddings as they are, and on ones that tell classes apart better or worse."""
    seen = part(data).learn
    other = make(noise=noise, kind=data.kind).embeddings
    options = replace(data, seen=seen)
    return train(options), train(replace(options, embeddings=other))


@pytest.mark.parametrize("kind", ["single", "multi", "score"])
def test_a_network_that_tells_classes_apart_better_is_chosen(kind: str) -> None:
    data = make(kind=kind)
    frozen, tuned = heads(data, 1.0)
    found = compare(data, part(data), frozen, [tuned, tuned])
    assert found.chosen
    assert found.tuned > found.frozen
    assert found.loss_gain.high < 0
    assert found.n_photos == part(data).apart.sum()
    assert "lower" in found.reason


@pytest.mark.parametrize("noise", [3.0, 6.0], ids=["equal", "worse"])
def test_a_network_that_is_no_better_is_not_chosen(noise: float) -> None:
    data = make()
    frozen, tuned = heads(data, noise)
    found = compare(data, part(data), frozen, [tuned, tuned])
    assert not found.chosen
    assert "not" in found.reason


def test_each_half_is_judged_on_the_round_that_the_other_chose() -> None:
    data, parts = make(), part(make())
    frozen, good = heads(data, 1.0)
    bad = heads(data, 6.0)[1]
    one, other = (compare(data, parts, frozen, pair).tuned for pair in ([good, bad], [bad, good]))
    both = compare(data, parts, frozen, [good, good]).tuned
    worst = compare(data, parts, frozen, [bad, bad]).tuned
    weights = [(parts.halves == 1).sum(), (parts.halves == 0).sum()]
    assert worst < one < both
    assert worst < other < both
    assert sum(weights) == parts.apart.sum()


def test_labels_of_test_photos_change_nothing_of_the_choice() -> None:
    data = make(split=True)
    embeddings = {0: data.embeddings, 1: make(noise=2.0).embeddings}
    test = np.flatnonzero(data.given_split == "test")
    shuffled = data.targets.copy()
    shuffled[test] = np.random.default_rng(1).permutation(shuffled[test])
    found, again = (
        decide(d, part(d), embeddings, 1, (1, 1), TrainOptions())
        for d in (data, replace(data, targets=shuffled))
    )
    assert found[0] == again[0]
    assert found[1] is not None
    assert again[1] is not None
    assert np.isfinite(found[1].test_probs[test]).all()
    assert np.array_equal(found[1].test_probs, again[1].test_probs, equal_nan=True)


def test_the_reported_answers_for_a_half_are_by_the_round_that_the_other_chose() -> None:
    """Also where the best round, chosen on both, gave its answers away."""
    data, parts = make(), part(make())
    leaky = data.embeddings.copy()
    leaky[parts.apart] = np.eye(K, D)[data.targets[parts.apart]] * 40
    embeddings = {0: data.embeddings, 1: make(noise=1.0).embeddings, 2: leaky}
    trained = decide(data, parts, embeddings, 2, (1, 1), TrainOptions())[1]
    alone = train(replace(data, embeddings=embeddings[1], seen=parts.learn))
    assert trained is not None
    assert np.array_equal(trained.heldout()[1], alone.heldout()[1])
    rows = trained.heldout()[0]
    assert np.array_equal(trained.oof_decided.rows(rows).given, alone.oof_decided.rows(rows).given)
