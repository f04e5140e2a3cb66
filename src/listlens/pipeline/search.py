"""Find photos by a tag over every task's stored answers, the surest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from listlens.core.errors import NotFoundError, suggest

if TYPE_CHECKING:
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store


def search(store: Store, models: list[LiveModel], query: str, limit: int) -> list[dict[str, Any]]:
    """Return the photos that carry a tag.

    Args:
        store: predictions and photos.
        models: whose answers to look through.
        query: a class, in any case, or ``TASK:CLASS``; "sofa" also means "sofa or bed".
        limit: how many photos at most.

    Returns:
        listing_id, image, task, class, probability and location, by falling probability. A photo
        is found where its model's decision holds the class.

    Raises:
        NotFoundError: no task has such a class; names near ones.
    """
    wanted = _columns(models, query)
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


def _columns(models: list[LiveModel], query: str) -> list[tuple[LiveModel, int]]:
    """The models and columns that a query means."""
    task, colon, name = query.partition(":")
    plain = (name if colon else query).strip().casefold()
    found = [
        (model, column)
        for model in models
        if not colon or model.task.casefold() == task.strip().casefold()
        for column, known in enumerate(model.classes)
        if plain in {known.casefold(), *known.casefold().split(" or ")}
    ]
    if not found:
        known = {name for model in models for name in model.classes}
        advice = suggest(plain, known) if known else "Tag the photos first: listlens tag --starter"
        raise NotFoundError(f"no task has a tag {query!r}. {advice}")
    return found


def _hits(
    store: Store, wanted: list[tuple[LiveModel, int]]
) -> Iterator[tuple[float, int, LiveModel, str]]:
    """Yield (probability, content id, model, class) of every decision that holds the class."""
    for model, column in wanted:
        name = model.classes[column]
        for ids, probs in store.predictions.scan(model.model_id):
            rows = [r for r, d in enumerate(model.decide(probs)) if name in d.classes]
            live = store.photos.by_content(ids[rows].tolist())  # others would use up the limit
            for row in rows:
                if int(ids[row]) in live:
                    yield float(probs[row, column]), int(ids[row]), model, name
