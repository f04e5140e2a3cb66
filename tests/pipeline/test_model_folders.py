"""Folders of models: a name that people know where it is safe, and never another task's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import listlens
from listlens.core.types import Task
from listlens.pipeline.model_saving import folder_name

Cli = Callable[..., Any]


def task(name: str, task_id: int = 7) -> Task:
    return Task(task_id, name, "single", 1)


@pytest.mark.parametrize(
    "name",
    ["room", "Living room", "room_type-2", "comida", "部屋", "غرفة", "task", "task-", "x" * 79],
)
def test_a_plain_name_is_its_own_folder(name) -> None:
    assert folder_name(task(name)) == name


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", "a.b", "<b>", "a|b", 'a"b', "a\nb", "C:", "~", "-\\", "x" * 80, "𐐀" * 79],
    ids=["slash", "up", "dot", "tag", "bar", "quote", "newline", "drive", "home", "back", "long",
         "bytes"],
)  # fmt: skip
def test_a_name_that_no_folder_can_have_everywhere_goes_by_its_number(name) -> None:
    assert folder_name(task(name)) == "task-7"


@pytest.mark.parametrize("name", ["task-2", "Task-2", "TASK-07", "task-7"])
def test_a_task_that_is_called_like_the_number_of_another_takes_its_own(name) -> None:
    assert folder_name(task(name)) == "task-7"


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_tasks_never_share_a_folder_and_any_folder_can_be_made(one, other) -> None:
    folders = [folder_name(task(one, 2)), folder_name(task(other, 3))]
    assert folders[0] != folders[1] or one == other
    for folder in folders:
        assert Path(folder).name == folder
        assert 0 < len(folder.encode()) <= 255
        assert "\0" not in folder


@pytest.mark.slow
def test_models_of_such_tasks_stand_side_by_side(project: Path, shop: Any, cli: Cli) -> None:
    with listlens.open(project) as opened:
        odd = opened.add_task("a/b", "single")
        like_it = opened.add_task(f"task-{odd.task_id}", "single")
        for name in (like_it.name, odd.name):
            opened.import_labels(name, shop.labels)
            opened.train(name)
    folders = {p.name for p in (project / "models").iterdir()}
    assert {f"task-{odd.task_id}", f"task-{like_it.task_id}"} <= folders
    photo = next(shop.photos.rglob("1.jpg"))
    for name in (like_it.name, odd.name):
        assert cli("predict", photo, "--task", name, "-p", project).code == 0
