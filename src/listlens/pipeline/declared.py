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
from listlens.core.tree import Tree
from listlens.core.types import STARTER, Kind, RejectedRow, Task
from listlens.sources import tables
from listlens.sources.table import id_text

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


def nodes_in(table: Path) -> tuple[str, ...]:
    """Read a category tree from a table with the columns ``class`` and ``parent``.

    Args:
        table: a row a class; the parent of a class at the top is empty.

    Returns:
        The paths of all nodes.

    Raises:
        InputError: a column is missing, a row cannot be read, a class has two parents or is its
            own ancestor, or no row has a class.
    """
    found = tables.columns(table)
    if absent := [name for name in ("class", "parent") if name not in found]:
        raise InputError(f"{table.name} has no column {absent[0]!r}. {suggest(absent[0], found)}")
    pairs = []
    for row in tables.read_table(table):
        if isinstance(row, RejectedRow):
            raise InputError(f"{row.at}: {row.detail}")
        at, values = row
        name, parent = (id_text(values.get(column)) for column in ("class", "parent"))
        if not name:
            raise InputError(f"{at}: the class is empty. Fill it in, or take the row out.")
        pairs.append((name, parent))
    if not pairs:
        raise InputError(f"{table.name} has no class.")
    try:
        return Tree.of_pairs(pairs).paths
    except ValueError as error:
        raise InputError(f"{table.name}: {error}") from None


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
        names |= store.labels.former_names(task.task_id)  # what was split stays so
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
