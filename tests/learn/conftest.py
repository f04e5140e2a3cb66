"""Made-up embeddings with clusters, as a backbone gives them: more columns than needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from listlens.core.types import EmbeddingSpace, Preprocessing
from listlens.learn.dataset import TrainingSet
from listlens.learn.model import Model
from listlens.learn.recipe import Trained, train

DIM = 24


def make_set(
    n: int = 240,
    n_classes: int = 3,
    kind: str = "single",
    *,
    noise: float = 1.0,
    seed: int = 0,
    split: bool = False,
) -> TrainingSet:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, DIM)) * 0.8
    if kind == "single":
        targets = rng.integers(0, n_classes, n)
        x = centres[targets]
    else:
        targets = (rng.random((n, n_classes)) < 0.35).astype(np.int8)
        x = targets @ centres
    x = (x + noise * rng.normal(size=(n, DIM))) * rng.uniform(0.5, 3, DIM) + 1.0
    groups = np.repeat(np.arange(n), 2)[:n]
    sides = np.array(["train"] * 6 + ["val"] * 2 + ["test"] * 2)[groups % 10]
    return TrainingSet(
        kind=kind,  # type: ignore[arg-type]
        classes=tuple(f"class {c}" for c in range(n_classes)),
        embeddings=x.astype(np.float16).astype(np.float32),
        targets=targets if kind == "multi" else targets.astype(np.int64),
        groups=groups,
        listings=groups,
        given_split=sides if split else np.full(n, "", dtype="<U5"),
        names=tuple(f"{i}.jpg" for i in range(n)),
    )


def as_model(trained: Trained, weights_sha256: str = "0" * 64, dim: int = DIM) -> Model:
    space = EmbeddingSpace("tiny", weights_sha256, "squash8-bicubic", "onnxruntime", "f32", dim)
    return Model.from_trained(
        trained,
        space=space,
        preprocessing=Preprocessing(size_px=8),
        task="room",
        created="2026-01-02T03:04:05Z",
        fingerprint="abc",
        metrics={"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}, "ece": 0.01},
    )


@pytest.fixture(scope="session")
def training_set() -> Callable[..., TrainingSet]:
    return make_set


@pytest.fixture(scope="session")
def to_model() -> Callable[..., Model]:
    return as_model


@pytest.fixture(scope="session", params=["single", "multi"])
def trained(request: pytest.FixtureRequest) -> Trained:
    return train(make_set(kind=request.param))


@pytest.fixture
def model(trained: Trained) -> Model:
    return as_model(trained)
