"""What each class of a task looks for: the stored photos that its direction likes best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import NotFoundError, PhotoError, suggest
from listlens.explain.heatmaps import class_activation
from listlens.explain.looking import Box, directions, most_liked, peak_box
from listlens.explain.maps import occlusion
from listlens.explain.masking import Masked, Pixels, mean_colour
from listlens.explain.pictures import seen_part, with_box
from listlens.pipeline.contents import THUMBNAIL_PX, prepare_bytes, read_file
from listlens.pipeline.explaining import asked_of
from listlens.pipeline.labelling import label_in_words, labelled_photos

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Task
    from listlens.explain.asked import Asked
    from listlens.images.files import Limits
    from listlens.pipeline.models import LiveModel
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

N_LIKED = 8
"""Photos a class."""

MOST_CLASSES = 40
"""Classes on the page; those with most labelled photos, or the ones asked for."""

_GRID = 7  # windows a side where there is no feature map


@dataclass(frozen=True)
class LookedFor:
    """What the classes look for.

    Args:
        facts: JSON-able: `n_classes`, and `classes` with `name` and `photos`.
        pictures: for each of the classes, a JPEG or None for each photo.
    """

    facts: dict[str, Any]
    pictures: list[list[bytes | None]]


def what_classes_look_for(
    store: Store,
    task: Task,
    live: LiveModel,
    backbone: Backbone,
    limits: Limits,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LookedFor:
    """Find, for each class, the stored photos that contribute most, and where in them.

    Args:
        store: whose photos; labelled or not.
        task: what is asked.
        live: the model that answers it.
        backbone: must be the model's.
        limits: bounds for the photos.
        name: only this class.
        progress: called with the classes done and their number.

    Raises:
        NotFoundError: the model has no such class.
        ModelError: the model was trained on another backbone.
    """
    assert live.model is not None  # starter tags are no task that can be explained
    asked = asked_of(live.model, live.classes, backbone)
    all_of = directions(live.kind, live.classes, asked.weights)
    labelled = labelled_photos(store, task)
    given = {p.photo.content_id: label_in_words(live.kind, p.label) for p in labelled}
    names = _chosen(list(all_of), Counter(y for p in labelled for y in p.label.yes), name)
    table = np.stack([all_of[one] for one in names])
    liked = most_liked(store.vectors.scan(backbone.space), table, 2 * N_LIKED)
    photos = store.photos.by_content(one.content_id for row in liked for one in row)
    has_maps = asked.has_feature_maps()
    classes, pictures = [], []
    for done, (one, direction, row) in enumerate(zip(names, table, liked, strict=True)):
        progress(done, len(names))
        here = [like for like in row if like.content_id in photos][:N_LIKED]
        views = [photos[like.content_id][0] for like in here]
        drawn = [_framed(store, v, asked, direction, limits, has_maps) for v in views]
        pictures.append([jpeg for jpeg, _ in drawn])
        shown = [
            {
                "image": view.photo_id,
                "listing_id": view.listing_id,
                "contribution": round(like.contribution, 4),
                "label": given.get(view.content_id) or None,  # undecided
                "box": None if box is None else [round(x, 4) for x in box],
            }
            for view, like, (_, box) in zip(views, here, drawn, strict=True)
        ]
        classes.append({"name": one, "photos": shown})
    progress(len(names), len(names))
    return LookedFor({"n_classes": len(all_of), "classes": classes}, pictures)


def _chosen(names: list[str], labelled: Counter[str], wanted: str | None) -> list[str]:
    """The classes to show, in the order of the model."""
    if wanted is not None:
        if wanted not in names:
            raise NotFoundError(f"the model has no class {wanted!r}. {suggest(wanted, names)}")
        return [wanted]
    most = set(sorted(names, key=lambda n: -labelled[n])[:MOST_CLASSES])
    return [n for n in names if n in most]


def _framed(
    store: Store,
    photo: PhotoView,
    asked: Asked,
    direction: NDArray[np.floating],
    limits: Limits,
    has_maps: bool,
) -> tuple[bytes | None, Box | None]:
    """The photo with the place that contributes most; without one where the original is gone."""
    backbone = asked.backbone
    thumbnail = store.thumbnails.get(photo.sha256 or "")
    read = read_file(photo.location, limits)
    if read.error is not None or read.sha256 != photo.sha256:
        return thumbnail, None
    prepared = prepare_bytes(
        read.data, backbone.preprocessing, limits, thumbnail_px=THUMBNAIL_PX, measure=False
    )
    if isinstance(prepared, PhotoError):
        return thumbnail, None
    box = peak_box(_contributions(prepared.pixels, backbone, direction, has_maps))
    seen = seen_part(thumbnail or prepared.thumbnail or b"", backbone.preprocessing)
    return with_box(seen, box), box


def _contributions(
    pixels: Pixels, backbone: Backbone, direction: NDArray[np.floating], has_maps: bool
) -> NDArray[np.float64]:
    """What each place adds to the product with the direction."""
    if has_maps:
        return class_activation(backbone.feature_maps(pixels[None])[0], direction)

    def product(images: Pixels) -> NDArray[np.float64]:
        return np.asarray(backbone.embed(images).astype(np.float64) @ direction)

    return occlusion(Masked(pixels, mean_colour(pixels), product), _GRID)
