"""Sums of what came in, by model, source and day, on SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from listlens.core.types import EmbeddingSpace
from listlens.store.drift import Sums
from listlens.store.models import ModelRecord
from listlens.store.open import Store

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 8)
DAY = "2026-01-02"


@pytest.fixture
def model_id(store: Store) -> int:
    task = store.labels.add_task("room", "single", ["a", "b"])
    return store.models.register(ModelRecord(task.task_id, 1, "m", "0" * 64, SPACE, 1, {}))


def test_days_are_kept_apart_and_come_newest_first(store: Store, model_id: int) -> None:
    for day in ("2026-01-01", DAY, DAY):
        more = {(model_id, name): Sums(n, np.full(3, float(n))) for name, n in (("a", 2), ("b", 5))}
        store.drift.add(more, day)
    found = store.drift.of(model_id, "2026-01-01")
    assert [(one.day, one.photos, one.sums.tolist()) for one in found["a"]] == [
        (DAY, 4, [4.0] * 3), ("2026-01-01", 2, [2.0] * 3),
    ]  # fmt: skip
    assert [one.photos for one in store.drift.of(model_id, DAY, "b")["b"]] == [10]
    store.drift.add({}, DAY)
    assert store.drift.prune(DAY) == 2
    assert [one.day for one in store.drift.of(model_id, "2026-01-01")["a"]] == [DAY]


def test_workers_at_the_same_time_lose_nothing_and_one_alert_is_the_first(
    store: Store, model_id: int
) -> None:
    def one(i: int) -> bool:
        with store.together():
            more = {(model_id, s): Sums(1, np.array([1.0, float(i)])) for s in ("a", f"s{i % 3}")}
            store.drift.add(more, DAY)
            return store.drift.note_told(model_id, "a", DAY)

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(one, range(40)))
    found = store.drift.of(model_id, DAY)
    assert found["a"][0].photos == 40 and found["a"][0].sums.tolist() == [40.0, 780.0]
    assert sum(days[0].photos for source, days in found.items() if source != "a") == 40
    assert sum(first) == 1 and found["a"][0].told_at is not None


def test_what_is_rolled_back_is_not_counted(store: Store, model_id: int) -> None:
    with pytest.raises(RuntimeError), store.together():
        store.drift.add({(model_id, "a"): Sums(1, np.ones(2))}, DAY)
        raise RuntimeError
    assert store.drift.of(model_id, DAY) == {}
