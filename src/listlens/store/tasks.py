"""Tasks and their taxonomies: classes with permanent ids, versions and recorded maps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, NotFoundError, suggest
from listlens.core.scale import scale_of
from listlens.core.tree import SEPARATOR, Tree
from listlens.core.types import Class, Kind, Task
from listlens.store.database import Database, checked_id, clean_text
from listlens.store.schema import class_, class_map, task, taxonomy
from listlens.store.stamp import bump
from listlens.store.taxonomies import ClassState, Taxonomy

MapKind = Literal["merge", "split", "move"]


class Tasks:
    """Questions asked of photos. Every change of the classes makes a new taxonomy version."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_task(self, name: str, kind: Kind, classes: Sequence[str] = ()) -> Task:
        """Add a task; one of the same name and kind is returned as it is, with these classes added.

        Raises:
            InputError: the name is taken by a task of another kind, or empty.
        """
        if kind not in get_args(Kind):
            raise InputError(f"kind {kind!r} of a task; allowed: {', '.join(get_args(Kind))}")
        if kind == "score":
            scale_of(classes)
        row = {"name": _checked_name(name), "kind": kind, "created_at": self._db.clock()}
        with self._db.write() as connection:
            insert = self._db.insert(task).values(row).on_conflict_do_nothing()
            added = connection.execute(insert.returning(task.c.id)).scalar()
            if added is not None:
                self._new_version(connection, added, 1, "task added")
            found = _find(connection, name)
            if found.kind != kind:
                raise InputError(f"task {name!r} exists and is {found.kind!r}, not {kind!r}")
        return self.add_classes(found.id, classes)

    def task(self, name: str) -> Task:
        """Return a task with its open classes.

        Raises:
            NotFoundError: names the nearest task.
        """
        with self._db.read() as connection:
            found = _find(connection, name)
            return _to_task(found, load_taxonomy(connection, found.id))

    def tasks(self) -> list[Task]:
        """Return all tasks, oldest first."""
        with self._db.read() as connection:
            rows = connection.execute(sa.select(task).order_by(task.c.id)).all()
            return [_to_task(row, load_taxonomy(connection, row.id)) for row in rows]

    def changes(self, task_id: int) -> tuple[tuple[int, str, datetime], ...]:
        """Return (version, change, moment) of every taxonomy that a task had, oldest first."""
        query = sa.select(taxonomy.c.version, taxonomy.c.change, taxonomy.c.created_at)
        query = query.where(taxonomy.c.task_id == task_id).order_by(taxonomy.c.version)
        with self._db.read() as connection:
            return tuple((r.version, r.change, r.created_at) for r in connection.execute(query))

    def former_names(self, task_id: int) -> set[str]:
        """Return the names of classes that were merged, moved or split: they are no more."""
        query = sa.select(class_.c.name).where(
            class_.c.task_id == task_id, class_.c.until_version.is_not(None)
        )
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def add_classes(self, task_id: int, names: Sequence[str]) -> Task:
        """Add classes in this order; names and aliases that exist are left as they are.

        A tree's nodes are paths; what stands above one is added too. A score keeps its steps.

        Raises:
            InputError: a path with an empty level, or a step that is not on the scale.
        """
        with self._db.write() as connection:
            known = self._lock(connection, task_id)
            names = _fitting(known, names)
            new = [n for n in dict.fromkeys(map(_checked_name, names)) if known.class_id(n) is None]
            if new:
                version = self._new_version(
                    connection, task_id, known.version + 1, "added " + ", ".join(new)
                )
                self._insert_classes(connection, task_id, version, new, len(known.states))
            return self._reload(connection, task_id)

    def rename_class(self, task_id: int, old: str, new: str) -> Task:
        """Rename a class; its id stays, and the old name becomes an alias.

        Raises:
            NotFoundError: no such class. InputError: the new name is taken.
        """
        new = _checked_name(new)
        with self._db.write() as connection:
            known = self._lock(connection, task_id)
            shown = _open_class(known, old)
            taken = known.class_id(new)
            if taken not in (None, shown.class_id):
                raise InputError(f"class {new!r} exists; to join the two, map them with 'merge'")
            _check_rename(known, shown.name, new)
            if shown.name != new:
                aliases = [a for a in dict.fromkeys((*shown.aliases, shown.name)) if a != new]
                values = {"name": new, "aliases": aliases}
                _update_class(connection, shown.class_id, values)
                change = f"renamed {shown.name} to {new}"
                self._new_version(connection, task_id, known.version + 1, change)
            return self._reload(connection, task_id)

    def describe_class(
        self,
        task_id: int,
        name: str,
        *,
        description: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Task:
        """Set a class's description or its aliases (other names that label files may use)."""
        with self._db.write() as connection:
            known = self._lock(connection, task_id)
            shown = _open_class(known, name)
            values: dict[str, Any] = {}
            if description is not None:
                values["description"] = clean_text(description)
            if aliases is not None:
                values["aliases"] = [_checked_name(a) for a in dict.fromkeys(aliases)]
                for alias in values["aliases"]:
                    if known.class_id(alias) not in (None, shown.class_id):
                        raise InputError(f"{alias!r} already means another class")
            if values:
                _update_class(connection, shown.class_id, values)
            return self._reload(connection, task_id)

    def map_class(
        self, task_id: int, kind: MapKind, from_names: Sequence[str], to_names: Sequence[str]
    ) -> Task:
        """Record that classes became others. Annotations stay as they are and read differently.

        Args:
            task_id: of the task.
            kind: ``merge`` (several to one; the target may be one of them), ``move`` (one to
                one), ``split`` (one to several: its answers become unknown until given again).
            from_names: open classes; they are closed, save a merge's target.
            to_names: made where they do not exist.

        Returns:
            The task under its new taxonomy version.

        Raises:
            InputError: numbers that do not fit the kind, a step of a scale, a node with others
                below it, or a path with an empty level. NotFoundError: no such class.
        """
        with self._db.write() as connection:
            known = self._lock(connection, task_id)
            olds = [_open_class(known, name) for name in dict.fromkeys(from_names)]
            names = [_checked_name(name) for name in dict.fromkeys(to_names)]
            _check_map(kind, olds, names, known)
            version = known.version + 1
            change = f"{kind} {', '.join(o.name for o in olds)} to {', '.join(names)}"
            self._new_version(connection, task_id, version, change)
            split = kind == "split"
            closing = [o for o in olds if split or known.class_id(names[0]) != o.class_id]
            for old in closing:
                _update_class(connection, old.class_id, {"until_version": version})
            closed = {old.class_id for old in closing}
            new = [n for n in _fitting(known, names) if known.class_id(n) in (None, *closed)]
            self._insert_classes(connection, task_id, version, new, len(known.states))
            targets = [_id_of(connection, task_id, name, known) for name in names]
            row = {
                "task_id": task_id,
                "version": version,
                "kind": kind,
                "from_ids": sorted(closed),
                "to_ids": targets,
                "created_at": self._db.clock(),
            }
            connection.execute(sa.insert(class_map).values(row))
            if not split:
                _inherit_names(connection, targets[0], closing)
            return self._reload(connection, task_id)

    def _lock(self, connection: Connection, task_id: int) -> Taxonomy:
        """Load a taxonomy for changing it; on PostgreSQL other changers wait."""
        connection.execute(sa.select(task.c.id).where(task.c.id == task_id).with_for_update())
        return load_taxonomy(connection, task_id)

    def _reload(self, connection: Connection, task_id: int) -> Task:
        row = connection.execute(sa.select(task).where(task.c.id == task_id)).one()
        return _to_task(row, load_taxonomy(connection, task_id))

    def _new_version(self, connection: Connection, task_id: int, version: int, change: str) -> int:
        row = {"task_id": task_id, "version": version, "change": change}
        connection.execute(sa.insert(taxonomy).values(row | {"created_at": self._db.clock()}))
        bump(self._db, connection)
        return version

    def _insert_classes(
        self, connection: Connection, task_id: int, version: int, names: Sequence[str], first: int
    ) -> None:
        rows = [
            {
                "task_id": task_id,
                "name": name,
                "aliases": [],
                "description": "",
                "position": first + at,
                "since_version": version,
            }
            for at, name in enumerate(names)
        ]
        if rows:
            connection.execute(sa.insert(class_), rows)


def _fitting(known: Taxonomy, names: Sequence[str]) -> Sequence[str]:
    """The classes to add for these names under the kind of the task."""
    if known.kind == "tree":
        try:
            return Tree.of(names).paths
        except ValueError as error:
            raise InputError(str(error)) from None
    off = [name for name in names if known.class_id(name) is None]
    if known.kind == "score" and known.live and off:
        steps = ", ".join(c.name for c in known.live)
        raise InputError(f"{off[0]!r} is no step of the scale {steps}; a scale does not change")
    return names


def load_taxonomy(connection: Connection, task_id: int) -> Taxonomy:
    """Load everything about a task's classes. Raises NotFoundError for a task that is not there."""
    kind = connection.execute(sa.select(task.c.kind).where(task.c.id == task_id)).scalar()
    if kind is None:
        raise NotFoundError(f"no task with id {task_id}")
    newest = sa.select(sa.func.max(taxonomy.c.version)).where(taxonomy.c.task_id == task_id)
    classes = sa.select(class_).where(class_.c.task_id == task_id)
    maps = sa.select(class_map).where(class_map.c.task_id == task_id).order_by(class_map.c.id)
    states = [
        ClassState(
            Class(row.id, row.name, tuple(row.aliases), row.description),
            row.since_version,
            row.until_version,
        )
        for row in connection.execute(classes.order_by(class_.c.position, class_.c.id))
    ]
    pairs = [(row.from_ids, row.to_ids) for row in connection.execute(maps)]
    return Taxonomy(kind, connection.execute(newest).scalar_one(), states, pairs)


def _find(connection: Connection, name: str) -> Any:
    query = sa.select(task).where(task.c.name == clean_text(name))
    row = connection.execute(query).first()
    if row is None:
        names = connection.execute(sa.select(task.c.name)).scalars()
        raise NotFoundError(f"no task {name!r}. {suggest(name, names)}")
    return row


def _to_task(row: Any, known: Taxonomy) -> Task:
    return Task(row.id, row.name, row.kind, known.version, known.live)


def _checked_name(name: str) -> str:
    if not name.strip():
        raise InputError("a task or class needs a name that is not empty")
    return checked_id(name, "name")


def _open_class(known: Taxonomy, name: str) -> Class:
    class_id = known.class_id(name)
    if class_id is None:
        raise NotFoundError(f"no class {name!r}. {suggest(name, [c.name for c in known.live])}")
    return known.states[class_id].shown


def _update_class(connection: Connection, class_id: int, values: dict[str, Any]) -> None:
    connection.execute(sa.update(class_).where(class_.c.id == class_id).values(values))


def _check_rename(known: Taxonomy, old: str, new: str) -> None:
    """A step is its number, and a node keeps its place and what is below it."""
    if known.kind == "score" and old != new:
        raise InputError(f"step {old!r} is a number of the scale and keeps its name")
    below = _below(known, old)
    moved = old.rpartition(SEPARATOR)[0] != new.rpartition(SEPARATOR)[0]
    if known.kind == "tree" and old != new and (below or moved):
        raise InputError(
            f"{old!r} cannot become {new!r}: only the last name of a leaf can change, since the "
            "paths below would have to change too"
        )
    _fitting(known, [new] if known.kind == "tree" else [])


def _below(known: Taxonomy, path: str) -> list[str]:
    """The open classes below a node."""
    return [c.name for c in known.live if c.name.startswith(f"{path}{SEPARATOR}")]


def _check_map(kind: str, olds: Sequence[Class], names: Sequence[str], known: Taxonomy) -> None:
    fits = {
        "merge": len(olds) >= 1 and len(names) == 1,
        "move": len(olds) == 1 and len(names) == 1,
        "split": len(olds) == 1 and len(names) >= 2,
    }
    if kind not in fits:
        raise InputError(f"map {kind!r}; allowed: {', '.join(map(repr, fits))}")
    if not fits[kind]:
        raise InputError(
            f"{kind} from {len(olds)} to {len(names)} classes; merge is several to one, move one "
            "to one, split one to several"
        )
    if kind != "split" and {o.class_id for o in olds} == {known.class_id(names[0])}:
        raise InputError(f"{kind} of {names[0]!r} to itself changes nothing")
    if known.kind == "score":
        raise InputError(f"step {olds[0].name!r} stays what it is; a scale does not change")
    for old in olds if known.kind == "tree" else ():
        left = set(_below(known, old.name)) - {o.name for o in olds}
        if left and old.name != names[0]:
            raise InputError(
                f"{old.name!r} has {min(left)!r} below it; say first what becomes of that"
            )


def _id_of(connection: Connection, task_id: int, name: str, known: Taxonomy) -> int:
    """Return the open class of this name as it is now, or the one that has it as an alias."""
    query = sa.select(class_.c.id).where(
        class_.c.task_id == task_id, class_.c.name == name, class_.c.until_version.is_(None)
    )
    found = connection.execute(query).scalar() or known.class_id(name)
    assert found is not None
    return int(found)


def _inherit_names(connection: Connection, target: int, closed: Sequence[Class]) -> None:
    """Let the target answer to the names of the classes it took in."""
    row = connection.execute(sa.select(class_).where(class_.c.id == target)).one()
    names = [*row.aliases, *(n for old in closed for n in (old.name, *old.aliases))]
    aliases = [name for name in dict.fromkeys(names) if name != row.name]
    _update_class(connection, target, {"aliases": aliases})
