"""Find photos by a tag over every task's stored answers, the surest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import NotFoundError, suggest
from listlens.core.tree import SEPARATOR
from listlens.learn.trees import shape_of

if TYPE_CHECKING:
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store


def search(store: Store, models: list[LiveModel], query: str, limit: int) -> list[dict[str, Any]]:
    """Return the photos that carry a tag.

    Args:
        store: predictions and photos.
        models: whose answers to look through.
        query: a class, in any case, or ``TASK:CLASS``; "sofa" also means "sofa or bed". Of a tree
            any node, by its name or its whole path: what is answered at it or below it is found.
        limit: how many photos at most.

    Returns:
        listing_id, image, task, class, probability and location, by falling probability. A photo
        is found where its model's decision holds the class.

    Raises:
        NotFoundError: no task has such a class; names near ones.
    """
    wanted = _wanted(models, query)
    best = heapq.nlargest(limit, _hits(store, wanted), key=lambda hit: hit[0])
    photos = store.photos.by_content({content_id for _, content_id, _, _ in best})
    rows = [
        {
            "listing_id": photo.listing_id,
            "image": photo.photo_id,
            "task": model.task,
            "class": name,
            "probability": round(probability, 5),
            "location": photo.location,
        }
        for probability, content_id, model, name in best
        for photo in photos.get(content_id, ())
    ]
    return rows[:limit]


@dataclass(frozen=True)
class _Wanted:
    """A class of a model, or a node of its tree: the columns whose probabilities are added up."""

    model: LiveModel
    name: str
    columns: list[int]

    def found_in(self, classes: tuple[str, ...]) -> bool:
        """Whether a decision holds it; a node is held by what is answered below it too."""
        if self.model.kind != "tree":
            return self.name in classes
        return any(f"{path}{SEPARATOR}".startswith(f"{self.name}{SEPARATOR}") for path in classes)


def _wanted(models: list[LiveModel], query: str) -> list[_Wanted]:
    """The models and classes that a query means."""
    plain = query.strip().casefold()
    answering = [model for model in models if model.kind != "score"]
    found = [
        wanted
        for model in answering
        for wanted in _classes(model)
        if _asked(model, plain) & _names(model, wanted.name)
    ]
    if not found:
        known = {wanted.name for model in answering for wanted in _classes(model)}
        advice = suggest(plain, known) if known else "Tag the photos first: listlens tag --starter"
        raise NotFoundError(f"no task has a tag {query!r}. {advice}")
    return found


def _asked(model: LiveModel, plain: str) -> set[str]:
    """What a query asks of a model: all of it, since names hold colons, or ``TASK:CLASS``."""
    task, colons = model.task.casefold(), [i for i, sign in enumerate(plain) if sign == ":"]
    return {plain, *(plain[i + 1 :].strip() for i in colons if plain[:i].strip() == task)}


def _classes(model: LiveModel) -> list[_Wanted]:
    """Everything that can be searched for in a model's answers."""
    if model.kind != "tree":
        return [_Wanted(model, name, [i]) for i, name in enumerate(model.classes)]
    shape = shape_of(model.classes)
    return [
        _Wanted(model, path, np.flatnonzero(under).tolist())
        for path, under in zip(shape.tree.paths, shape.under, strict=True)
    ]


def _names(model: LiveModel, name: str) -> set[str]:
    """What a class may be called, in small letters."""
    known = name.casefold()
    if model.kind == "tree":
        return {known, known.rpartition(SEPARATOR)[2]}
    return {known, *known.split(" or ")}


def _hits(store: Store, wanted: list[_Wanted]) -> Iterator[tuple[float, int, LiveModel, str]]:
    """Yield (probability, content id, model, class) of every decision that holds the class."""
    for one in wanted:
        for ids, probs in store.predictions.scan(one.model.model_id):
            decisions = one.model.decide(probs)
            rows = [r for r, d in enumerate(decisions) if one.found_in(d.classes)]
            live = store.photos.by_content(ids[rows].tolist())  # others would use up the limit
            for row in rows:
                if int(ids[row]) in live:
                    sure = min(float(probs[row, one.columns].sum()), 1.0)
                    yield sure, int(ids[row]), one.model, one.name
