"""Tasks that `listlens.toml` declares, in the file and in the store.

The file comes first: what it declares and the store lacks is added when the project opens, so a
process that dies in between leaves nothing half done.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from pydantic import ValidationError

from listlens.core.config import CONFIG_NAME, Config, TaskConfig, render_task
from listlens.core.errors import ConfigError, InputError, suggest
from listlens.core.scale import parse_scale
from listlens.core.types import STARTER, Kind, Task

if TYPE_CHECKING:
    from listlens.store.open import Store


def add_task(
    store: Store,
    config: Config,
    root: Path,
    name: str,
    kind: str,
    classes: Sequence[str],
    scale: str = "",
) -> Task:
    """Add a question to `listlens.toml`, then to the store.

    Args:
        store: of the project.
        config: the settings as they were read.
        root: the project's folder.
        name: of the task.
        kind: of `core.types.Kind`.
        classes: possible answers; empty where labels bring them.
        scale: of a score, such as ``1:5``.

    Raises:
        InputError: a name that is taken or kept for the starter tags, another kind, or names that
            the store cannot keep. The file stays as it was.
    """
    if name == STARTER:
        raise InputError(f"the name {STARTER!r} is kept for the starter tags. Use another name.")
    if name in config.tasks or name in {t.name for t in store.labels.tasks()}:
        raise InputError(f"there is a task {name!r} already.")
    if kind not in get_args(Kind):
        raise InputError(f"no kind {kind!r}. {suggest(kind, get_args(Kind))}")
    try:
        declared = TaskConfig(kind=cast(Kind, kind), classes=tuple(classes), scale=scale)
    except ValueError as error:
        raise InputError(_first_reason(error)) from None
    path = (root / CONFIG_NAME).resolve()
    before = path.read_bytes()
    text = "\n" + "\n".join(render_task(name, declared)) + "\n"
    _write(path, before + text.encode())
    try:
        return store.labels.add_task(name, declared.kind, declared.answers)
    except BaseException:
        _write(path, before)
        raise


def steps_of(task: Task, scale: str = "") -> tuple[str, ...]:
    """Return the steps of a score task; empty for other kinds.

    Args:
        task: whose steps.
        scale: that the user states; empty where nothing is stated.

    Raises:
        InputError: another scale than the task's, or one for a task that is no score.
    """
    steps = tuple(c.name for c in task.classes) if task.kind == "score" else ()
    if scale and parse_scale(scale) != steps:
        has = f"has the steps {', '.join(steps)}" if steps else f"is {task.kind} and has no scale"
        raise InputError(f"task {task.name!r} {has}, and --scale says {scale}. Leave it out.")
    return steps


def declare_tasks(store: Store, config: Config) -> None:
    """Bring tasks and classes that the settings declare into the store.

    Raises:
        ConfigError: a task that has another kind in the store, or the starter tags' name.
    """
    known = {task.name: task for task in store.labels.tasks()}
    for name, declared in config.tasks.items():
        if name == STARTER:
            raise ConfigError(
                f"{CONFIG_NAME} declares a task {STARTER!r}, a name that is kept for the starter "
                "tags. Give it another name."
            )
        task = known.get(name)
        if task is None:
            store.labels.add_task(name, declared.kind, declared.answers)
            continue
        if task.kind != declared.kind:
            raise ConfigError(
                f"task {name!r} is {task.kind} in the store and {declared.kind} in "
                f"{CONFIG_NAME}. A task keeps its kind: give the new one another name."
            )
        names = {alias for c in task.classes for alias in (c.name, *c.aliases)}
        if new := [c for c in declared.answers if c not in names]:
            store.labels.add_classes(task.task_id, new)


def _first_reason(error: ValueError) -> str:
    """What a settings check says is wrong, without the checker's own words."""
    found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return found.removeprefix("Value error, ")


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole, or leave it as it is; who may read it stays the same."""
    from listlens.pipeline.table_files import whole_file

    with whole_file(path) as temporary:
        temporary.touch(mode=0o600)
        shutil.copymode(path, temporary)
        temporary.write_bytes(data)
