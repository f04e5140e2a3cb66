"""Which classes can be learnt, and what the others lack."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from listlens.core.errors import TrainingError
from listlens.core.tree import Tree
from listlens.learn.dataset import TrainingSet


@dataclass(frozen=True)
class Usable:
    """Args: classes that can be learnt, in order; set_aside: class to the reason."""

    classes: tuple[str, ...]
    set_aside: dict[str, str]


def usable_classes(data: TrainingSet, min_examples: int, min_groups: int) -> Usable:
    """Split the classes into those that can be learnt and those that are too small.

    Photos of a given test split do not count, since nothing is learnt from them. The nodes of a
    tree and the steps of a scale are all kept: those with few photos borrow from their neighbours.

    Args:
        data: the labelled photos.
        min_examples: needed per class; multi: of yes and of no.
        min_groups: that they must be spread over.

    Raises:
        TrainingError: fewer than two classes (single) or none (multi) can be learnt.
    """
    rows = data.given_split != "test"
    if data.kind in ("tree", "score"):
        _require_enough(data, rows & data.labelled, min_examples, min_groups)
        return Usable(data.classes, {})
    groups, set_aside = data.groups[rows], {}
    for c, name in enumerate(data.classes):
        column = data.targets[rows] if data.kind == "single" else data.targets[rows, c]
        answers = {"": column == c} if data.kind == "single" else _yes_no(column)
        lacks = [
            _lack(word, groups[hit], min_examples, min_groups) for word, hit in answers.items()
        ]
        if any(lacks):
            set_aside[name] = "; ".join(filter(None, lacks))
    kept = tuple(c for c in data.classes if c not in set_aside)
    if len(kept) < (2 if data.kind == "single" else 1):
        raise TrainingError(_too_few(kept, set_aside, min_examples, min_groups, data))
    return Usable(kept, set_aside)


def _require_enough(
    data: TrainingSet, rows: NDArray[np.bool_], min_examples: int, min_groups: int
) -> None:
    """Raise TrainingError where a tree has no two nodes, or a scale no two means, to tell apart."""
    n_groups = len(np.unique(data.groups[rows]))
    if data.kind == "tree":
        lines = Tree.of(data.classes).lineage
        found = {lines[node][0] for node in data.targets[rows].tolist()}
        different, what = max(len(found), len(set(data.targets[rows].tolist()))), "nodes"
    else:
        means = data.targets[rows] @ np.arange(len(data.classes))
        different, what = len(np.unique(means.round(6))), "different scores"
    if different < 2 or rows.sum() < 2 * min_examples or n_groups < min_groups:
        raise TrainingError(
            f"{different} {what} in {int(rows.sum())} labelled photos of {n_groups} listings "
            "(those that share a picture count once), and a head needs at least two, with "
            f"{2 * min_examples} photos of {min_groups} listings outside the test split. Label "
            "more photos."
        )


def _yes_no(column: NDArray[np.integer]) -> dict[str, NDArray[np.bool_]]:
    return {"yes": column == 1, "no": column == 0}


def _lack(word: str, groups: NDArray[np.int64], min_examples: int, min_groups: int) -> str:
    """What is missing, or nothing."""
    what = f"photos answered {word}" if word else "photos"
    n, n_groups = len(groups), len(np.unique(groups))
    if n < min_examples:
        return f"{n} {what}, needs {min_examples}"
    if n_groups < min_groups:
        return f"all {n} {what} are of one listing or duplicate group, needs {min_groups}"
    return ""


def _too_few(
    kept: tuple[str, ...],
    set_aside: dict[str, str],
    min_examples: int,
    min_groups: int,
    data: TrainingSet,
) -> str:
    needed = "two classes" if data.kind == "single" else "one class with both yes and no"
    lacking = "; ".join(f"{name!r}: {why}" for name, why in list(set_aside.items())[:5])
    few = data.kind == "single" and len(data.classes) > 1
    return (
        f"{len(kept)} of {len(data.classes)} classes can be learnt"
        f"{' (only ' + repr(kept[0]) + ')' if kept else ''}, and a head needs at least {needed}, "
        f"each with {min_examples} photos of {min_groups} listings outside the test split. "
        f"{lacking + '. ' if lacking else ''}Label more photos"
        f"{', or learn from one photo a class: train --few' if few else ''}."
    )


def with_classes(data: TrainingSet, classes: tuple[str, ...]) -> TrainingSet:
    """The same rows with these classes only; an answer that named another becomes unknown."""
    if classes == data.classes:
        return data
    kept = [data.classes.index(c) for c in classes]
    if data.kind == "multi":
        return replace(data, classes=classes, targets=data.targets[:, kept])
    lookup = np.full(len(data.classes) + 1, -1, dtype=np.int64)
    lookup[kept] = np.arange(len(kept))
    return replace(data, classes=classes, targets=lookup[data.targets])
