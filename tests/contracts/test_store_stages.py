"""Stages of models behave alike on SQLite and PostgreSQL: one live, a history, and the way back."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from listlens.core.errors import InputError, NotFoundError, StoreError
from listlens.core.types import EmbeddingSpace, Policy, Status
from listlens.store.contents import ContentRecord
from listlens.store.models import ModelRecord
from listlens.store.open import Store, open_store

SPACE = EmbeddingSpace("tiny", "0" * 64, "squash8", "onnxruntime", "f32", 4)
OWN = EmbeddingSpace("tuned", "1" * 64, "squash8", "onnxruntime", "f32", 4)
POLICY = Policy((0.5, 0.5), (0.5, 0.5), (0.5, 0.5))


@pytest.fixture
def task_id(store: Store) -> int:
    return store.labels.add_task("room", "single", ["a", "b"]).task_id


def add(store: Store, task_id: int, n: int = 1, space: EmbeddingSpace = SPACE) -> list[int]:
    """Register n models of a task."""
    made = []
    for _ in range(n):
        version = store.models.next_version(task_id)
        record = ModelRecord(task_id, version, f"m/{version}", "a" * 64, space, 1, {})
        made.append(store.models.register(record, who="ida" if version == 2 else ""))
    return made


def stages(store: Store, task_id: int) -> list[str]:
    return [row.stage for row in store.models.list(task_id)]


def contents(store: Store, n: int) -> list[int]:
    shas = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    return sorted(store.contents.save(
        [ContentRecord(s, 1, "JPEG", 1, 1, None, Status.OK) for s in shas]
    ))  # fmt: skip


def test_the_first_model_of_a_task_is_live_and_every_later_one_a_candidate(
    store: Store, task_id: int
) -> None:
    other = store.labels.add_task("view", "single", ["x"]).task_id
    first, _ = add(store, task_id, 2)
    add(store, other)
    assert stages(store, task_id) == ["live", "candidate"]
    assert stages(store, other) == ["live"]
    live = store.models.live(task_id)
    assert live is not None
    assert live.model_id == first
    store.stages.retire(first)
    assert store.models.live(task_id) is None
    add(store, task_id)
    assert stages(store, task_id) == ["retired", "candidate", "candidate"]


def test_a_promotion_retires_the_live_one_and_both_are_in_the_history(
    store: Store, task_id: int
) -> None:
    one, two = add(store, task_id, 2)
    before = store.stages.promote(two, who="ann", why="better \0 on cellars")
    assert before is not None
    assert (before.model_id, stages(store, task_id)) == (one, ["retired", "live"])
    told = [(c.version, c.action, c.from_stage, c.to_stage, c.who) for c in
            store.stages.history(task_id)]  # fmt: skip
    assert told == [
        (1, "registered", None, "live", ""),
        (2, "registered", None, "candidate", "ida"),
        (1, "superseded", "live", "retired", "ann"),
        (2, "promoted", "candidate", "live", "ann"),
    ]
    assert store.stages.history(task_id)[-1].why == "better ? on cellars"
    assert store.stages.promote(two) is None  # answers already
    assert len(store.stages.history(task_id)) == 4


def test_a_rollback_goes_back_and_never_forth(store: Store, task_id: int) -> None:
    models = add(store, task_id, 3)
    assert store.stages.previous(task_id) is None
    with pytest.raises(NotFoundError, match="before"):
        store.stages.rollback(task_id)
    for model_id in models[1:]:
        store.stages.promote(model_id)
    before, after = store.stages.rollback(task_id, who="bob")
    assert (before and before.version, after.version) == (3, 2)
    assert store.stages.rollback(task_id)[1].version == 1
    with pytest.raises(NotFoundError):
        store.stages.rollback(task_id)
    assert stages(store, task_id) == ["live", "retired", "retired"]
    store.stages.promote(models[2])
    assert store.stages.rollback(task_id)[1].version == 1


def test_a_rollback_passes_over_what_was_retired_for_good(store: Store, task_id: int) -> None:
    models = add(store, task_id, 3)
    for model_id in models[1:]:
        store.stages.promote(model_id)
    store.stages.retire(models[1])
    assert store.stages.rollback(task_id)[1].version == 1
    store.stages.promote(models[1])  # by name it may come back
    assert store.stages.rollback(task_id)[1].version == 1
    store.stages.retire(models[0])
    target = store.stages.previous(task_id)
    assert target is None  # all others are retired, or were rolled back


def test_a_live_model_that_was_retired_is_followed_by_the_one_before(
    store: Store, task_id: int
) -> None:
    one, two = add(store, task_id, 2)
    store.stages.promote(two)
    store.stages.retire(two)
    assert store.models.live(task_id) is None
    before, after = store.stages.rollback(task_id)
    assert (before, after.model_id) == (None, one)


def test_shadows_and_canaries_stand_beside(store: Store, task_id: int) -> None:
    one, two, three = add(store, task_id, 3)
    store.stages.shadow(two)
    store.stages.canary(three, 0.05)
    rows = store.models.list(task_id)
    assert [(r.stage, r.share) for r in rows] == [
        ("live", 0), ("shadow", 0), ("candidate", 0.05)
    ]  # fmt: skip
    store.stages.canary(two, 0.5)  # one canary a task
    assert [r.share for r in store.models.list(task_id)] == [0, 0.5, 0]
    store.stages.canary(two, 0)
    assert stages(store, task_id) == ["live", "candidate", "candidate"]
    store.stages.canary(two, 0.5)
    store.stages.promote(two)
    assert [(r.stage, r.share) for r in store.models.list(task_id)][1] == ("live", 0)
    assert [c.action for c in store.stages.history(task_id)][-2:] == ["superseded", "promoted"]
    with pytest.raises(InputError, match="live"):
        store.stages.shadow(two)
    with pytest.raises(InputError, match="live"):
        store.stages.canary(two, 0.1)
    for wrong in (-0.1, 1, float("nan")):
        with pytest.raises(InputError, match="share"):
            store.stages.canary(three, wrong)
    store.stages.retire(two)
    with pytest.raises(InputError, match="rest"):
        store.stages.canary(three, 0.1)
    assert store.models.get(task_id, 1).model_id == one


def test_a_model_that_is_not_there_is_refused(store: Store) -> None:
    for change in (store.stages.promote, store.stages.shadow, store.stages.retire):
        with pytest.raises(NotFoundError, match="99"):
            change(99)
    with pytest.raises(InputError, match="allowed"):
        store.models.register(
            ModelRecord(1, 1, "m", "a" * 64, SPACE, 1, {}, stage="frozen")  # type: ignore[arg-type]
        )


def test_the_database_itself_refuses_a_second_live_model(store: Store, task_id: int) -> None:
    add(store, task_id, 2)
    with pytest.raises(StoreError), store._db.write() as connection:
        connection.execute(sa.text("UPDATE model SET stage = 'live'"))
    assert stages(store, task_id) == ["live", "candidate"]


def test_the_stamp_grows_with_whatever_changes_answers_and_with_nothing_else(
    store: Store, task_id: int
) -> None:
    seen = [store.stages.stamp()]

    def grew() -> bool:
        seen.append(store.stages.stamp())
        return seen[-1] > seen[-2]

    one, two = add(store, task_id, 2)
    assert grew()
    store.models.add_policy(one, POLICY)
    assert grew()
    store.models.add_policy(one, POLICY)  # the same again
    assert not grew()
    for change in (store.stages.shadow, store.stages.promote, store.stages.retire):
        change(two)
        assert grew(), change
    store.labels.rename_class(task_id, "a", "A")
    assert grew()
    store.labels.map_class(task_id, "merge", ["A"], ["b"])
    assert grew()
    store.predictions.save(one, contents(store, 2), np.zeros((2, 2), np.float32))
    assert not grew()


def test_promotions_at_once_leave_one_live_model_and_a_history_that_fits(
    store_url: str, tmp_path: Path
) -> None:
    with open_store(store_url, tmp_path) as store:
        task_id = store.labels.add_task("room", "single", ["a", "b"]).task_id
        models = add(store, task_id, 4)
        start, errors = threading.Barrier(4), list[BaseException]()

        def promote(model_id: int) -> None:
            try:
                start.wait(30)
                for _ in range(3):
                    store.stages.promote(model_id)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=promote, args=(model_id,)) for model_id in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert stages(store, task_id).count("live") == 1
        standing = dict[int, str]()
        for change in store.stages.history(task_id):
            assert standing.get(change.model_id) == change.from_stage
            standing[change.model_id] = change.to_stage
        assert [standing[m] for m in models] == stages(store, task_id)
        assert store.stages.stamp() >= len(store.stages.history(task_id))


def test_first_models_at_once_are_one_live_and_the_rest_candidates(
    store_url: str, tmp_path: Path
) -> None:
    with open_store(store_url, tmp_path) as store:
        task_id = store.labels.add_task("room", "single", ["a", "b"]).task_id
        start, taken = threading.Barrier(3), list[BaseException]()

        def register(version: int) -> None:
            record = ModelRecord(task_id, version, "m", "a" * 64, SPACE, 1, {})
            try:
                start.wait(30)
                store.models.register(record)
            except BaseException as error:
                taken.append(error)

        threads = [threading.Thread(target=register, args=(v,)) for v in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert taken == []
        assert sorted(stages(store, task_id)) == ["candidate", "candidate", "live"]


def test_an_answer_says_which_model_classes_and_thresholds_it_came_from(
    store: Store, task_id: int
) -> None:
    (model_id,) = add(store, task_id)
    one, two, three = contents(store, 3)
    answer = np.full((1, 2), 0.5, np.float32)
    store.predictions.save(model_id, [one], answer)
    store.models.add_policy(model_id, POLICY)
    store.predictions.save(model_id, [two], answer)
    store.models.add_policy(model_id, Policy((0.9, 0.9), (0.9, 0.9), (0.9, 0.9), "error<=0.1"))
    store.predictions.save(model_id, [three], answer)
    told = store.predictions.origins(model_id, [one, two, three, 999])
    assert [told[pk].policy_version for pk in (one, two, three)] == [None, 1, 2]
    assert {(o.model_version, o.taxonomy_version) for o in told.values()} == {(1, 1)}
    assert len(told) == 3
    store.predictions.save(model_id, [one], answer)  # answered again, under today's
    assert store.predictions.origins(model_id, [one])[one].policy_version == 2
    assert [p.version for p in store.models.policies(model_id)] == [1, 2]
    assert store.models.policies(model_id)[-1].policy.target == "error<=0.1"
    assert store.predictions.count(model_id) == 3


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_recent_answers_are_found_by_their_time(
    store: Store, task_id: int, clock: Callable[[], Any], batch: int
) -> None:
    (model_id,) = add(store, task_id)
    ids = contents(store, 5)
    for pk in ids[:3]:
        store.predictions.save(model_id, [pk], np.full((1, 2), 0.5, np.float32))
    moment = clock()
    store.predictions.save(model_id, ids[3:], np.full((2, 2), 0.5, np.float32))
    store.predictions.save(model_id, ids[:1], np.full((1, 2), 0.5, np.float32))
    blocks = list(store.predictions.since(model_id, moment, batch))
    assert [pk for block in blocks for pk in block] == [ids[0], *ids[3:]]
    assert all(0 < len(block) <= batch for block in blocks)


def test_sweeping_removes_a_models_answers_and_the_vectors_that_only_it_uses(
    store: Store, task_id: int
) -> None:
    ids = contents(store, 4)
    (frozen,), (tuned, again) = add(store, task_id), add(store, task_id, 2, OWN)
    for space in (SPACE, OWN):
        store.vectors.put(space, ids, np.ones((4, 4), np.float16))
    for model_id in (frozen, tuned, again):
        store.predictions.save(model_id, ids, np.full((4, 2), 0.5, np.float32))
    rows = {row.model_id: row for row in store.models.list(task_id)}
    sweeping = store.sweeping
    assert sweeping.plan(rows[frozen], SPACE).n_vectors == 0  # the project's own backbone
    store.stages.retire(tuned)
    plan = sweeping.plan(rows[tuned], SPACE)
    assert (plan.n_predictions, plan.n_vectors) == (4, 0)  # the other one uses them too
    assert sweeping.sweep(rows[tuned], SPACE) == plan
    assert store.vectors.missing(OWN, ids) == []
    store.stages.retire(again)
    plan = sweeping.plan(rows[again], SPACE)
    assert (plan.n_predictions, plan.n_vectors) == (4, 4)
    assert sweeping.sweep(rows[again], SPACE) == plan
    assert store.vectors.missing(OWN, ids) == ids
    assert store.vectors.missing(SPACE, ids) == []
    assert [store.predictions.count(m) for m in (frozen, tuned, again)] == [4, 0, 0]
    assert list((store.vectors.folder).glob("tuned*/*.npy")) == []


def test_of_two_people_who_roll_back_at_once_one_is_told(store: Store, task_id: int) -> None:
    """Both saw model 3 and meant model 2; the second must not go on to model 1."""
    models = add(store, task_id, 3)
    for model_id in models[1:]:
        store.stages.promote(model_id)
    meant = store.stages.previous(task_id)
    assert meant is not None
    store.stages.rollback(task_id, to=meant.model_id)
    with pytest.raises(InputError, match="changed meanwhile"):
        store.stages.rollback(task_id, to=meant.model_id)
    assert stages(store, task_id) == ["retired", "live", "retired"]


def test_a_model_that_became_live_meanwhile_is_neither_retired_nor_swept(
    store: Store, task_id: int
) -> None:
    ids = contents(store, 3)
    _, two = add(store, task_id, 2)
    store.predictions.save(two, ids, np.full((3, 2), 0.5, np.float32))
    seen = store.models.get(task_id, 2)  # a candidate
    store.stages.promote(two)
    with pytest.raises(InputError, match="live"):
        store.stages.retire(two, live_too=False)
    assert stages(store, task_id) == ["retired", "live"]
    assert store.sweeping.sweep(seen, SPACE).n_predictions == 0
    assert store.predictions.count(two) == 3
    store.stages.retire(two)
    assert store.sweeping.sweep(seen, SPACE).n_predictions == 3
