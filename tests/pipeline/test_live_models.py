"""`LiveModels`: what answers now, whole, and loaded again only when something changed."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import listlens
from listlens.core.errors import InputError, ListlensError, NotFoundError
from listlens.pipeline.live import RETRY_S, Answering, LiveModels, in_share
from listlens.project import Project

TASK = "label"


@pytest.fixture
def two(two_models: Path) -> Any:
    """A project with two models of a task, the first live; given open."""
    with listlens.open(two_models) as opened:
        yield opened


def live_of(project: Project, **more: Any) -> LiveModels:
    return LiveModels(project.store, project.root, check_s=0, **more)


def test_nothing_is_loaded_again_while_nothing_changes(two: Project) -> None:
    changes: list[Answering] = []
    models = live_of(two, on_change=changes.append)
    first = models.current()
    assert all(models.current() is first for _ in range(5))
    assert [now.of(TASK).version for now in changes] == [1]


def test_a_promotion_and_a_rollback_show_at_the_next_look(two: Project) -> None:
    models = live_of(two)
    before = models.current()
    two.registry.promote(TASK)
    after = models.current()
    assert [now.of(TASK).name for now in (before, after)] == [f"{TASK}/1", f"{TASK}/2"]
    two.registry.rollback(TASK)
    back = models.current()
    assert back.of(TASK).version == 1
    assert back.stamp > after.stamp > before.stamp
    assert before.of(TASK).version == 1  # whoever held it answers to the end by it


def test_a_change_by_another_process_shows_too(two: Project, cli: Any) -> None:
    models = live_of(two)
    assert models.current().of(TASK).version == 1
    assert cli("models", "promote", TASK, "-p", two.root).code == 0
    assert models.current().of(TASK).version == 2


def test_between_two_looks_the_store_is_left_alone(two: Project) -> None:
    now = [0.0]
    models = LiveModels(two.store, two.root, check_s=10, clock=lambda: now[0])
    models.current()
    two.store.stages.promote(two.store.models.get(1, 2).model_id)
    now[0] = 9.9
    assert models.current().of(TASK).version == 1
    now[0] = 10.0
    assert models.current().of(TASK).version == 2


def test_new_thresholds_and_names_show_without_reading_the_model_again(two: Project) -> None:
    models = live_of(two)
    before = models.current().of(TASK)
    body = replace(before.policy, target="error<=0.01")
    two.store.models.add_policy(before.model_id, body)
    task = two.store.labels.task(TASK)
    two.store.labels.rename_class(task.task_id, "disc", "round")
    after = models.current().of(TASK)
    assert (after.policy.target, after.policy_version) == ("error<=0.01", before.policy_version + 1)
    assert "round" in after.classes
    assert "disc" not in after.classes
    assert after.model is before.model


def test_a_model_that_cannot_be_loaded_leaves_the_one_before_answering(two: Project) -> None:
    models = live_of(two)
    models.current()
    folder, away = two.root / "models" / TASK / "2", two.root / "away"
    shutil.move(folder, away)
    two.store.stages.promote(two.store.models.get(1, 2).model_id)
    assert models.current().of(TASK).version == 1
    assert "not a whole model folder" in models.problem
    shutil.move(away, folder)
    assert models.current().of(TASK).version == 2
    assert models.problem == ""


def test_a_first_load_that_fails_says_so(two: Project) -> None:
    shutil.rmtree(two.root / "models" / TASK / "1")
    with pytest.raises(ListlensError, match="not a whole model folder"):
        live_of(two).current()


def test_without_a_model_there_is_an_answer_to_that_too(tmp_path: Path) -> None:
    from listlens.scaffold import init

    with init(tmp_path / "new") as project:
        now = live_of(project).current()
        assert now.live == {}
        with pytest.raises(NotFoundError, match="room"):
            now.of("room")


def test_shadows_and_canaries_stand_beside_and_a_share_is_answered_by_the_canary(
    two: Project,
) -> None:
    models = live_of(two)
    shas = [f"{n:064x}" for n in range(400)]
    two.registry.beside(TASK)
    now = models.current()
    assert [(m.version, m.stage) for m in now.all_of(TASK)] == [(1, "live"), (2, "shadow")]
    assert {now.chosen(TASK, sha).version for sha in shas} == {1}
    two.registry.beside(TASK, share=0.25)
    chosen = [models.current().chosen(TASK, sha).version for sha in shas]
    assert 60 <= chosen.count(2) <= 140
    assert chosen == [models.current().chosen(TASK, sha).version for sha in shas]
    two.registry.beside(TASK, share=0.5)  # whoever was in a share stays in a larger one
    wider = [models.current().chosen(TASK, sha).version for sha in shas]
    assert all(b == 2 for a, b in zip(chosen, wider, strict=True) if a == 2)
    two.registry.beside(TASK, share=0)
    assert models.current().beside == ()
    two.registry.retire(TASK, 2)
    with pytest.raises(InputError, match="nothing to end"):  # a candidate else
        two.registry.beside(TASK, 2, share=0)
    assert two.store.models.get(1, 2).stage == "retired"


def test_a_share_is_of_its_size_and_differs_from_task_to_task() -> None:
    shas = [f"{n:064x}" for n in range(4000)]
    for share in (0.0, 0.05, 0.5, 1.0):
        hit = np.mean([in_share("room", sha, share) for sha in shas])
        assert abs(hit - share) < 0.02
    room = [in_share("room", sha, 0.5) for sha in shas]
    view = [in_share("view", sha, 0.5) for sha in shas]
    assert 0.4 < np.mean(np.array(room) == np.array(view)) < 0.6


def test_many_threads_get_whole_answers_while_models_change(two: Project) -> None:
    models, stop = live_of(two), threading.Event()
    wrong: list[object] = []
    vectors = np.random.default_rng(0).normal(size=(3, 1280)).astype(np.float16)
    expected = {
        version: two.registry._loaded(
            two.store.labels.task(TASK), two.store.models.get(1, version)
        ).probs(vectors)
        for version in (1, 2)
    }

    def ask() -> None:
        while not stop.is_set():
            try:
                answering = models.current().of(TASK)
                got = answering.probs(vectors)
                if not np.array_equal(got, expected[answering.version]):
                    wrong.append(answering.version)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    second = two.store.models.get(1, 2).model_id
    for _ in range(10):
        two.store.stages.promote(second)
        two.store.stages.rollback(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_damaged_shadow_or_canary_keeps_no_live_model_from_answering(two: Project) -> None:
    now = [0.0]
    folder, away = two.root / "models" / TASK / "2", two.root / "away"
    two.registry.beside(TASK, share=0.5)
    shutil.move(folder, away)
    models = LiveModels(two.store, two.root, check_s=0, clock=lambda: now[0])
    first = models.current()  # of a process that has just started
    assert (first.of(TASK).version, first.beside) == (1, ())
    assert f"{TASK}/2 is left out" in models.problem and "whole model folder" in models.problem
    now[0] += RETRY_S
    assert models.current() is first and f"{TASK}/2 is left out" in models.problem
    shutil.move(away, folder)
    assert models.current() is first, "it is not tried at every look"
    now[0] += RETRY_S
    assert [m.version for m in models.current().beside] == [2]
    assert models.problem == ""
