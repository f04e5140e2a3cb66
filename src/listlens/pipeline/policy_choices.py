"""What other thresholds would do, side by side, so that a person can choose.

All of it on labelled photos that the answering copy of the model had not seen, as by `policy set`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.types import Policy
from listlens.learn.policies import answers
from listlens.pipeline.models import load_model_row
from listlens.pipeline.thresholds import Effect, Held, by_hand, check_kind, chooser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.types import EmbeddingSpace, Task
    from listlens.pipeline.models import LiveModel
    from listlens.store.models import ModelView
    from listlens.store.open import Store

AIMS = ("best-f1", "error<=0.01", "error<=0.02", "error<=0.05", "error<=0.1", "error<=0.2")
TREE_AIMS = ("error<=0.02", "error<=0.05", "error<=0.1", "error<=0.2")
"""What `policy set --target` takes, apart from the aim in force."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Tried for one class."""

MOST_TRIED = 20_000_000
"""Photos times classes for which every aim is tried: each takes six passes. Beyond, none is."""


@dataclass(frozen=True, slots=True)
class ClassEffect:
    """What thresholds do to one class.

    Args:
        name: of the class.
        threshold: of it.
        n: labelled photos that have it.
        n_given: answers with it, given without a person.
        n_right: of these, the right ones.
        n_review: labelled photos that a person looks at, whatever their class.
    """

    name: str
    threshold: float
    n: int
    n_given: int
    n_right: int
    n_review: int

    @property
    def precision(self) -> float | None:
        """Share of right answers among those given; None without any."""
        return self.n_right / self.n_given if self.n_given else None

    @property
    def recall(self) -> float | None:
        """Share of the class's photos that get it without a person; None without any."""
        return self.n_right / self.n if self.n else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self) | {"precision": self.precision, "recall": self.recall}


def policy_choices(
    store: Store,
    root: Path,
    task: Task,
    row: ModelView,
    space: EmbeddingSpace,
    name: str | None = None,
) -> dict[str, Any]:
    """Say what the thresholds in force do, and what others would.

    Args:
        store: labels, models.
        root: the project's folder.
        task: whose model.
        row: of the model.
        space: of the project's backbone.
        name: of a class, whose threshold is tried at many values.

    Returns:
        JSON-able: n (held-out photos), n_labelled, in_force (an effect), aims (target and effect
        on photos that did not choose them; empty where that takes too long), classes (each under
        the thresholds in force; empty of a tree), tried (of the class named).

    Raises:
        InputError: a score task, or a tree and a class.
        NotFoundError: no such class.
        TrainingError: no labelled photo left that training had.
    """
    model = load_model_row(store, root, task, row)
    check_kind(model, {} if name is None else {name: 0.5})
    held = Held.of(store, root / row.folder, task, model, space)
    in_force = held.effect(lambda probs, given: model.policy, model)
    aims: tuple[str, ...] = TREE_AIMS if model.kind == "tree" else AIMS
    if held.probs.size > MOST_TRIED:
        aims = ()
    every = range(0 if model.kind == "tree" else len(model.classes))
    return {
        "n": in_force.n,
        "n_labelled": len(held.probs),
        "in_force": _told(in_force),
        "aims": [
            {"target": aim, **_told(held.effect(chooser(model, aim, {}), model))} for aim in aims
        ],
        "classes": [c.as_dict() for c in _effects(held, model, model.policy, every)],
        "tried": _tried(held, model, name) if name is not None else [],
    }


def _told(effect: Effect) -> dict[str, Any]:
    """An effect with the shares that a person compares."""
    return asdict(effect) | {
        "review": effect.n_review / effect.n if effect.n else 0.0,
        "wrong": effect.n_wrong / effect.n_alone if effect.n_alone else None,
    }


def _tried(held: Held, model: LiveModel, name: str) -> list[dict[str, Any]]:
    """One class under many thresholds, all others as they are in force."""
    at = model.classes.index(name)
    return [
        effect.as_dict()
        for value in THRESHOLDS
        for effect in _effects(held, model, by_hand(model.policy, model, {name: value}), [at])
    ]


def _effects(
    held: Held, model: LiveModel, policy: Policy, at: range | list[int]
) -> list[ClassEffect]:
    """What a policy does to some classes; each photo is answered once."""
    decided = answers(held.probs, policy, model.kind, model.classes)
    n_review = int(decided.review.any(axis=1).sum())
    found = []
    for c in at:
        if model.kind == "multi":
            known, true = held.given[:, c] >= 0, held.given[:, c] == 1
            given = decided.given[:, c] & ~decided.review[:, c] & known
        else:
            true = held.given == c
            given = decided.given[:, c] & ~decided.review.any(axis=1)
        found.append(ClassEffect(
            model.classes[c], policy.thresholds[c], _count(true), _count(given),
            _count(given & true), n_review,
        ))  # fmt: skip
    return found


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
