"""Where the photos of a shop stand by their scores: percentiles among their like, and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.scale import scale_of
from listlens.core.types import Status
from listlens.evaluate.reasons import MEASURES, reasons
from listlens.evaluate.scores import ScoredPhoto, scored_photos
from listlens.images.measures import Measures
from listlens.metrics.ordinal import means, percentile
from listlens.pipeline.contents import batched

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.pipeline.apply import Prediction
    from listlens.pipeline.heldout import Heldout
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

PHOTOS_AT_ONCE = 4096
CATEGORIES = ("category", "category_l1", "product_type")
"""Attributes of a listing, the first that it has: its photos are compared with those alike."""

SCORED: dict[str, type] = {
    "spread": float,
    "percentile": float,
    "category": str,
    "pulled_down_by": str,
}
"""Columns that stand beside a score in a table."""

Answers = Callable[[Sequence[int]], Mapping[int, Any]]


def place_photos(
    store: Store,
    classes: tuple[str, ...],
    answers: Answers,
    held: Heldout | None = None,
    given: Mapping[int, NDArray[np.floating]] | None = None,
) -> dict[int, ScoredPhoto]:
    """Rank every photo that can be answered, the best first.

    Args:
        store: photos, their measures and their listings' attributes.
        classes: steps of the scale.
        answers: content ids to probabilities `(k,)`; absent ids have no answer.
        held: answers of models that had not seen the photo, where there are any: they win.
        given: photo_pk to the shares `(k,)` of the votes that people gave.

    Returns:
        photo_pk to where it stands; a photo takes some 500 bytes meanwhile.
    """
    photos: list[PhotoView] = []
    rows: list[NDArray[np.float32]] = []
    measured: list[NDArray[np.float64]] = []
    for batch in batched(store.photos.scan(status=Status.OK), PHOTOS_AT_ONCE):
        ids = [p.content_id for p in batch if p.content_id is not None]
        known, contents = answers(ids), store.contents.get(ids)
        for photo in batch:
            honest = held.probs_of(photo.photo_pk) if held else None
            probs = honest if honest is not None else known.get(photo.content_id or -1)
            if probs is None or photo.content_id is None:
                continue
            photos.append(photo)
            rows.append(probs)
            measured.append(_measured(contents[photo.content_id].measures))
    if not photos:
        return {}
    scale, probs = scale_of(classes), np.stack(rows).astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)  # stored probabilities are rounded
    category, unknown = _categories(store), np.full(len(classes), np.nan)
    found = scored_photos(
        [str(i) for i in range(len(photos))],
        probs,
        scale,
        targets=np.stack([(given or {}).get(photo.photo_pk, unknown) for photo in photos]),
        categories=[category.get(photo.listing_id) for photo in photos],
        reasons=reasons(np.stack(measured), means(probs, scale)),
    )
    placed = ((photos[int(one.image)], one) for one in found)
    return {photo.photo_pk: replace(one, image=photo.photo_id) for photo, one in placed}


def placed_by(
    store: Store, model: LiveModel, held: Heldout | None = None
) -> dict[int, ScoredPhoto]:
    """`place_photos` by the stored answers of a model."""
    return place_photos(
        store, model.classes, lambda ids: store.predictions.get(model.model_id, ids), held
    )


def place_columns(place: ScoredPhoto) -> dict[str, Any]:
    """The columns SCORED of a photo; of no category where it is compared with the whole shop."""
    return {
        "spread": place.spread,
        "percentile": place.percentile,
        "category": place.category or None,
        "pulled_down_by": "; ".join(place.reasons) or None,
    }


def shop_means(store: Store, model: LiveModel) -> NDArray[np.float64]:
    """Return the stored scores `(n,)` of a model, a number a picture, to place others among."""
    scale = scale_of(model.classes)
    blocks = [means(probs, scale) for _, probs in store.predictions.scan(model.model_id)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def with_places(
    store: Store, models: Sequence[LiveModel], answers: Iterator[tuple[str, Prediction]]
) -> Iterator[tuple[str, Prediction]]:
    """Say of scores from outside the store what share of the shop's is lower, where it has any."""
    shop = {model.task: shop_means(store, model) for model in models if model.kind == "score"}
    for task, answer in answers:
        if answer.score is None or not len(shop[task]):
            yield task, answer
            continue
        below = float(percentile([answer.score], shop[task])[0])
        yield task, replace(answer, percentile=round(below, 4))


def _measured(stored: Mapping[str, float | int] | None) -> NDArray[np.float64]:
    if not stored:
        return np.full(len(MEASURES), np.nan)
    measures = Measures.from_dict(stored)
    return np.array([measure.of(measures) for measure in MEASURES])


def _categories(store: Store) -> dict[str, str]:
    """The category of each listing that has one."""
    found = {}
    for listing_id, attributes in store.photos.attributes():
        plain = {str(name).strip().lower(): value for name, value in attributes.items()}
        value = next((plain[name] for name in CATEGORIES if plain.get(name)), None)
        if isinstance(value, str):
            found[listing_id] = value
    return found
