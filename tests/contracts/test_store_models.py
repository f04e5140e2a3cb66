"""Models, policies, runs and predictions behave alike on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from listlens.core.errors import InputError, NotFoundError
from listlens.core.types import EmbeddingSpace, Policy, Status
from listlens.store.contents import ContentRecord
from listlens.store.models import ModelRecord
from listlens.store.open import Store

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)


def record(store: Store, task_id: int, **more: object) -> ModelRecord:
    values = {
        "task_id": task_id,
        "version": store.models.next_version(task_id),
        "folder": "models/room/1",
        "sha256": "a" * 64,
        "space": SPACE,
        "taxonomy_version": 1,
        "card": {"accuracy": 0.98, "названия": ["кухня"]},
    }
    return ModelRecord(**(values | more))  # type: ignore[arg-type]


@pytest.fixture
def task_id(store: Store) -> int:
    return store.labels.add_task("room", "single", ["a", "b"]).task_id


@pytest.fixture
def contents(store: Store) -> list[int]:
    shas = [hashlib.sha256(bytes([i])).hexdigest() for i in range(30)]
    records = [ContentRecord(s, 1, "PNG", 1, 1, None, Status.OK) for s in shas]
    return sorted(store.contents.save(records))


def test_models_are_versions_of_a_task(store: Store, task_id: int) -> None:
    assert store.models.latest(task_id) is None
    first = store.models.register(record(store, task_id))
    second = store.models.register(record(store, task_id, stage="candidate"))
    latest = store.models.latest(task_id)
    assert latest is not None
    assert (latest.model_id, latest.version, latest.stage) == (second, 2, "candidate")
    assert (latest.space, latest.card["названия"]) == (SPACE, ["кухня"])
    assert store.models.get(task_id, 1).model_id == first
    assert [m.version for m in store.models.list()] == [1, 2]
    assert store.models.get(task_id, 2).stage == "candidate"


def test_a_version_is_taken_once_and_an_absent_one_lists_the_others(
    store: Store, task_id: int
) -> None:
    store.models.register(record(store, task_id))
    with pytest.raises(InputError, match="taken"):
        store.models.register(record(store, task_id, version=1))
    with pytest.raises(NotFoundError, match="There are: 1"):
        store.models.get(task_id, 7)


def test_the_newest_policy_is_the_default(store: Store, task_id: int) -> None:
    model_id = store.models.register(record(store, task_id))
    with pytest.raises(NotFoundError, match="no policy"):
        store.models.policy(model_id)
    one = Policy((0.5, 0.25), (0.1, 0.2), (0.9, 0.3))
    two = Policy((0.5, 0.3), (0.1, 0.2), (0.9, 0.3), "precision>=0.9")
    first = store.models.add_policy(model_id, one)
    assert store.models.add_policy(model_id, one) == first
    second = store.models.add_policy(model_id, two)
    assert store.models.policy(model_id) == (second, two)


def test_a_run_says_how_it_went(store: Store, task_id: int) -> None:
    run_id = store.models.record_run(task_id, {"C": 0.1}, "f00d", 7)
    store.models.finish_run(run_id, "done", {"f1": 0.9})
    (run,) = store.models.runs(task_id)
    assert (run.run_id, run.config, run.seed, run.status) == (run_id, {"C": 0.1}, 7, "done")
    assert run.finished_at is not None
    assert run.finished_at.utcoffset() is not None
    assert run.started_at < run.finished_at
    assert run.result == {"f1": 0.9}


def test_predictions_come_back_by_content(store: Store, task_id: int, contents: list[int]) -> None:
    model_id = store.models.register(record(store, task_id))
    probs = np.random.default_rng(0).random((30, 5)).astype(np.float32)
    store.predictions.save(model_id, contents[:20], probs[:20])
    assert store.predictions.missing(model_id, contents[15:25]) == contents[20:25]
    got = store.predictions.get(model_id, [contents[3], contents[29]])
    assert list(got) == [contents[3]]
    np.testing.assert_allclose(got[contents[3]], probs[3], atol=1e-5)
    store.predictions.save(model_id, contents[:1], probs[5:6])
    blocks = list(store.predictions.scan(model_id, batch=7))
    ids = np.concatenate([ids for ids, _ in blocks])
    back = np.concatenate([block for _, block in blocks])
    assert ids.tolist() == contents[:20]
    np.testing.assert_allclose(back[1:], probs[1:20], atol=1e-5)
    np.testing.assert_allclose(back[0], probs[5], atol=1e-5)


def test_predictions_of_what_is_not_there_are_refused(
    store: Store, task_id: int, contents: list[int]
) -> None:
    model_id = store.models.register(record(store, task_id))
    probs = np.ones((1, 2), np.float32)
    with pytest.raises(NotFoundError, match="999"):
        store.predictions.save(model_id, [999], probs)
    with pytest.raises(NotFoundError, match="no model"):
        store.predictions.save(999, contents[:1], probs)
    with pytest.raises(InputError, match="1 rows"):
        store.predictions.save(model_id, contents[:2], probs)
    for bad in (np.nan, 1.5, -0.1):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            store.predictions.save(model_id, contents[:1], np.full((1, 2), bad, np.float32))
    assert list(store.predictions.scan(model_id)) == []
