"""Which version of a task's models is meant, and whether it can be compared: from rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from listlens.core.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.store.models import ModelView
    from listlens.store.open import Store


def wanted(store: Store, task: Task, version: int | None) -> ModelView:
    """Return the version that is named, or the newest one.

    Args:
        store: of the project.
        task: whose models.
        version: None: the newest, unless it is retired.

    Raises:
        NotFoundError: there is none.
        InputError: the newest is retired, so a version has to be named.
    """
    if version is not None:
        return store.models.get(task.task_id, version)
    newest = store.models.latest(task.task_id)
    if newest is None:
        raise NotFoundError(f"task {task.name!r} has no model yet: listlens train {task.name}")
    if newest.stage == "retired":
        raise InputError(
            f"the newest model of {task.name!r}, {newest.version}, is retired. Train another, "
            f"or name the version that you mean: listlens models promote {task.name} "
            f"{newest.version}"
        )
    return newest


def differing(store: Store, task: Task, version: int | None) -> tuple[ModelView, ModelView]:
    """Return the live model, and the one to compare with it; see `wanted`.

    Raises:
        NotFoundError: there is no such version, or none is live.
        InputError: the one to compare is the live one, or a version has to be named.
    """
    row, live = wanted(store, task, version), store.models.live(task.task_id)
    if live is None:
        raise NotFoundError(
            f"no model of {task.name!r} is live: listlens models promote {task.name}"
        )
    if live.model_id == row.model_id:
        raise InputError(f"model {row.version} of {task.name!r} is the live one: train another.")
    return live, row
