"""Classes renamed, merged and split, and what that does to labels and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError

if TYPE_CHECKING:
    from listlens.core.types import Task
    from listlens.store.open import Store


@dataclass(frozen=True)
class ClassChange:
    """What became of some classes.

    Args:
        task: its name.
        change: what was done, in words.
        taxonomy: version of the classes since.
        classes: names of today.
        n_answers: people's answers that name a class concerned.
        model: version of the live model; None where none is.
        trains: whether the live model needs a training to answer with the classes of today.
        lost: whether these answers say nothing until they are given again.
        dry_run: nothing was changed.
    """

    task: str
    change: str
    taxonomy: int
    classes: tuple[str, ...]
    n_answers: int
    model: int | None
    trains: bool
    lost: bool = False
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        lines = ["Nothing was changed; without --dry-run:"] if self.dry_run else []
        lines.append(f"{self.change}. Classes of {self.task!r}: {', '.join(self.classes)}.")
        if self.lost and self.n_answers:
            lines.append(
                f"{self.n_answers} answers say nothing until they are given again: label these "
                "photos once more."
            )
        elif self.n_answers:
            lines.append(f"{self.n_answers} answers read as the new class from now on.")
        if self.model is not None and self.trains:
            lines.append(
                f"Model {self.model} goes on answering with the classes it learnt. Next: listlens "
                f"train {self.task}"
            )
        return "\n".join(lines)


def class_table(store: Store, task: Task) -> dict[str, Any]:
    """Return a task's classes with the number of answers that name each, and every change.

    Returns:
        JSON-able: task, kind, taxonomy (version), classes, changes.
    """
    counts = _answers(store, task)
    return {
        "task": task.name,
        "kind": task.kind,
        "taxonomy": task.taxonomy_version,
        "classes": [
            {
                "class_id": c.class_id,
                "name": c.name,
                "answers": counts[c.name],
                "aliases": list(c.aliases),
                "description": c.description,
            }
            for c in task.classes
        ],
        "changes": [
            {"version": version, "change": change, "at": at.isoformat(timespec="seconds")}
            for version, change, at in store.labels.changes(task.task_id)
        ],
    }


def rename_class(store: Store, task: Task, old: str, new: str) -> ClassChange:
    """Give a class another name; the old one stays an alias. Raises as the store does."""
    after = store.labels.rename_class(task.task_id, old, new)
    return _told(store, after, f"Renamed {old} to {new}", 0, trains=False)


def merge_classes(
    store: Store, task: Task, names: Sequence[str], into: str, *, dry_run: bool = False
) -> ClassChange:
    """Let several classes become one.

    Args:
        store: of the project.
        task: whose classes.
        names: the classes.
        into: what they become: one of them, another, or a new one.
        dry_run: only say what would be done.

    Raises:
        NotFoundError: no such class. InputError: nothing to merge, or a step of a scale.
    """
    counts = _answers(store, task)
    n = sum(counts[name] for name in {_today(task, name) for name in names} if name != into)
    said = f"Merged {', '.join(names)} into {into}"
    if dry_run:
        left = [c.name for c in task.classes if c.name not in {_today(task, x) for x in names}]
        after = tuple(dict.fromkeys([*left, into]))
        return _told(store, task, said, n, classes=after, dry_run=True)
    after_task = store.labels.map_class(task.task_id, "merge", names, [into])
    return _told(store, after_task, said, n)


def split_class(
    store: Store, task: Task, name: str, into: Sequence[str], *, dry_run: bool = False
) -> ClassChange:
    """Let one class become several; its answers say nothing until given again.

    Args:
        store: of the project.
        task: whose class.
        name: of the class.
        into: two or more, new ones or others that there are.
        dry_run: only say what would be done.

    Raises:
        NotFoundError: no such class. InputError: into fewer than two, or a step of a scale.
    """
    old = _today(task, name)
    n, said = _answers(store, task)[old], f"Split {old} into {', '.join(into)}"
    if len(dict.fromkeys(into)) < 2:
        raise InputError(f"a class is split into two or more: --into A --into B, not {list(into)}")
    if dry_run:
        left = [c.name for c in task.classes if c.name != old]
        after = tuple(dict.fromkeys([*left, *into]))
        return _told(store, task, said, n, classes=after, lost=True, dry_run=True)
    after_task = store.labels.map_class(task.task_id, "split", [old], list(into))
    return _told(store, after_task, said, n, lost=True)


def describe_class(
    store: Store,
    task: Task,
    name: str,
    description: str | None = None,
    aliases: Sequence[str] | None = None,
) -> ClassChange:
    """Say what a class means, or which other names it has. Raises as the store does."""
    if description is None and aliases is None:
        raise InputError("say a --description or an --alias.")
    after = store.labels.describe_class(
        task.task_id, name, description=description, aliases=aliases
    )
    return _told(store, after, f"Described {name}", 0, trains=False)


def _today(task: Task, name: str) -> str:
    """The name of today of a class that is called by one of its names; unknown ones as they are."""
    return next((c.name for c in task.classes if name in (c.name, *c.aliases)), name)


def _answers(store: Store, task: Task) -> Counter[str]:
    """How many answers of people name each class, as they read today."""
    found: Counter[str] = Counter()
    for view in store.labels.annotations(task.task_id):
        found.update({*view.answer.yes, *view.answer.no, *(step for step, _ in view.answer.votes)})
    return found


def _told(
    store: Store,
    task: Task,
    change: str,
    n_answers: int,
    *,
    classes: tuple[str, ...] = (),
    trains: bool = True,
    lost: bool = False,
    dry_run: bool = False,
) -> ClassChange:
    live = store.models.live(task.task_id)
    return ClassChange(
        task.name,
        change,
        task.taxonomy_version + dry_run,
        classes or tuple(c.name for c in task.classes),
        n_answers,
        live.version if live else None,
        trains,
        lost,
        dry_run,
    )
