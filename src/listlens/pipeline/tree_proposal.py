"""A category tree proposed from a trained task's flat classes, as a table for a person to edit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import InputError
from listlens.core.tree import SEPARATOR, Tree
from listlens.learn.grouping import class_distances, proposed_nodes
from listlens.learn.model import Model
from listlens.pipeline.dataset import build_examples
from listlens.pipeline.heldout import Heldout
from listlens.pipeline.judging import in_classes
from listlens.pipeline.models import chosen_row
from listlens.pipeline.table_files import check_suffix, write_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import Task
    from listlens.store.open import Store

FEWEST_CLASSES = 4
MOST_LEVELS = 4


@dataclass(frozen=True)
class TreeProposal:
    """What was proposed and where it stands.

    Args:
        task: whose classes.
        path: the table that was written.
        n_classes: leaves.
        groups: nodes above them, as paths.
    """

    task: str
    path: str
    n_classes: int
    groups: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `--json` prints it."""
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        lines = [f"{self.n_classes} classes in {len(self.groups)} groups:"]
        for path in self.groups:
            *above, name = path.split(SEPARATOR)
            lines.append(f"{'  ' * (len(above) + 1)}{name}")
        tree = f"{self.task}-tree"
        return "\n".join([
            *lines,
            f"Wrote {self.path}. Rename and move what you like, then:",
            f"listlens task add {tree!r} --kind tree --nodes {self.path}",
            f"listlens labels import {tree!r} LABELS   (the flat labels: a class is found by its "
            "name)",
        ])  # fmt: skip


def propose_tree(store: Store, root: Path, task: Task, path: Path, n_levels: int) -> TreeProposal:
    """Group classes that look alike and are taken for each other, and write the groups.

    Pictures are told by their embeddings, mistakes by the answers of models that had not seen the
    photo; see `learn.grouping`.

    Args:
        store: of the project.
        root: the project's folder.
        task: of kind single, with a model.
        path: .csv, .jsonl or .parquet with the columns ``class`` and ``parent``.
        n_levels: levels of groups, above the classes.

    Raises:
        InputError: another kind, too few classes, a level or a class's name that will not do.
        NotFoundError: the task has no model yet.
    """
    check_suffix(path, (".csv", ".jsonl", ".parquet"))
    if task.kind != "single":
        raise InputError(
            f"a tree is proposed for a task with one class a photo, and {task.name!r} is "
            f"{task.kind}."
        )
    if not 1 <= n_levels <= MOST_LEVELS:
        raise InputError(f"--levels is {n_levels}; allowed: 1 to {MOST_LEVELS}.")
    record = chosen_row(store, task)
    model = Model.load(root / record.folder, record.sha256)
    classes = model.classes
    if len(classes) < FEWEST_CLASSES:
        raise InputError(
            f"the model of {task.name!r} has {len(classes)} classes; a tree needs at least "
            f"{FEWEST_CLASSES}."
        )
    if held := next((name for name in classes if SEPARATOR in name), None):
        raise InputError(
            f"class {held!r} holds {SEPARATOR!r}, which separates the levels of a path. Rename it."
        )
    pairs = proposed_nodes(
        classes, distances_of(store, root / record.folder, task, model), n_levels
    )
    write_rows(path, {"class": str, "parent": str}, ({"class": a, "parent": b} for a, b in pairs))
    tree = Tree.of_pairs(pairs)
    leaves = set(tree.leaves)
    groups = tuple(sorted(p for i, p in enumerate(tree.paths) if i not in leaves))
    return TreeProposal(task.name, str(path), len(classes), groups)


def distances_of(store: Store, folder: Path, task: Task, model: Model) -> NDArray[np.float64]:
    """Distances of a model's classes, by the photos that it was trained on."""
    heldout = Heldout.of(folder)
    examples = build_examples(store, task, model.space)
    rows = heldout.rows_of([p.photo.photo_pk for p in examples.photos])
    given = in_classes("single", examples.data.classes, model.classes, examples.given)
    probs = heldout.oof_probs[rows]
    given = np.where((rows >= 0) & np.isfinite(probs[:, 0]), given, -1)
    return class_distances(examples.data.embeddings, probs, given)
