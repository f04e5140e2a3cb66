"""The learning curve of every kind: what it is measured on, by what, and when it is not drawn."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from listlens.learn.dataset import TrainingSet
from listlens.learn.recipe import TrainOptions, train
from listlens.pipeline import label_growth
from listlens.pipeline.label_growth import measure_learning_curve

DIM, N = 16, 240
KINDS = ("single", "multi", "tree", "score")
CLASSES = {
    "single": ("a", "b", "c"),
    "multi": ("a", "b", "c"),
    "tree": ("X", "X > a", "X > b", "Y"),
    "score": ("1", "2", "3"),
}
METRICS = {
    "single": "accuracy",
    "multi": "macro_ap",
    "tree": "hierarchical_f1",
    "score": "srcc",
}


def made(kind: str, *, noise: float = 0.3, seed: int = 0, split: bool = False) -> TrainingSet:
    """Three heaps of embeddings, two photos a listing; the less noise, the easier."""
    rng = np.random.default_rng(seed)
    heap = rng.integers(0, 3, N)
    targets: Any = {
        "single": heap,
        "multi": (heap[:, None] == np.arange(3)).astype(np.int8),
        "tree": heap + 1,
        "score": (0.9 * np.eye(3)[heap] + 0.1 / 3).astype(np.float32),
    }[kind]
    groups = np.arange(N) // 2
    sides = np.array(["train", "train", "val", "test"])[groups % 4]
    return TrainingSet(
        kind,  # type: ignore[arg-type]
        CLASSES[kind],
        (np.eye(3, DIM)[heap] + noise * rng.normal(size=(N, DIM))).astype(np.float32),
        targets,
        groups,
        groups,
        sides if split else np.full(N, "", "<U5"),
        tuple(map(str, range(N))),
    )


def curve(data: TrainingSet, seed: int = 0) -> Any:
    trained = train(data, TrainOptions(strengths=(0.1,)))
    return measure_learning_curve(SimpleNamespace(data=data), trained, seed), trained  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_easy_is_learnt_from_few_and_what_is_chance_from_none(kind) -> None:
    easy, _ = curve(made(kind, noise=0.05))
    assert easy.metric == METRICS[kind]
    assert easy.points[-1].value > (0.85 if kind == "score" else 0.97)
    lost, _ = curve(made(kind, noise=50.0))
    assert lost.points[-1].value < 0.65
    for found in (easy, lost):
        sizes = [point.n_labels for point in found.points]
        assert sizes == sorted(set(sizes))
        assert all(p.low <= p.value <= p.high <= 1 + 1e-9 for p in found.points)
        json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("split", [False, True], ids=["folds", "own split"])
def test_the_last_point_is_learnt_from_all_that_is_not_held_out(split) -> None:
    data = made("single", split=split)
    found, trained = curve(data)
    held = (trained.split == "test") if split else (trained.fold == 0)
    assert found.points[-1].n_labels == N - held.sum()
    assert found.points[-1].n_repeats == 1


def test_only_the_held_out_photos_are_judged() -> None:
    data = made("single", noise=0.05, split=True)
    test = data.given_split == "test"
    spoilt = data.targets.copy()
    spoilt[test] = (spoilt[test] + 1) % 3  # every label of test says another class
    found, _ = curve(TrainingSet(
        data.kind, data.classes, data.embeddings, spoilt, data.groups, data.listings,
        data.given_split, data.names,
    ))  # fmt: skip
    assert max(point.value for point in found.points) < 0.05


def test_the_same_seed_draws_the_same_curve_and_another_another() -> None:
    data = made("single", noise=1.0)
    one, again, other = (curve(data, seed)[0] for seed in (1, 1, 2))
    assert one == again
    assert one.points[0] != other.points[0]


def test_a_curve_that_would_take_long_is_not_drawn(monkeypatch) -> None:
    data = made("single")
    monkeypatch.setattr(label_growth, "MOST_CELLS", N * 3 - 1)
    assert curve(data)[0] is None
    monkeypatch.setattr(label_growth, "MOST_CELLS", N * 3)
    assert curve(data)[0] is not None
