"""A listing as a whole: told at once with its photos, and read back with what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError
from listlens.pipeline.event_door import let_in
from listlens.pipeline.events import (
    LISTING_CHANGED,
    PHOTO_ADDED,
    PHOTO_DELETED,
    Wrong,
    read_event,
)
from listlens.pipeline.results import result_of
from listlens.sources.paths import printable, real_path

if TYPE_CHECKING:
    from listlens.pipeline.models import LiveModel
    from listlens.store.event_rows import EventRecord
    from listlens.store.open import Store
    from listlens.store.photo_rows import PhotoView

MOST_PHOTOS = 1000
"""Photos of a listing that are told or read at once."""

SOURCE = "events"


MOST_WRONG = 20
"""Reasons that one answer tells."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a listing's events: each is in exactly one of the counts.

    Args:
        new: wait now.
        duplicates: had come in before.
        dead: cannot be used; see the dead letters.
        wrong: why, of the first `MOST_WRONG`.
    """

    new: int
    duplicates: int
    dead: int
    wrong: tuple[str, ...] = ()


def tell(store: Store, listing_id: str, said: Mapping[str, Any], now: datetime) -> Told:
    """Take a listing in as events: one of the listing, and one of each photo.

    Args:
        store: whose inbox.
        listing_id: external id.
        said: `seller_id`, `attributes`, `at`, `source` and `priority` as events have them;
            `photos`, each with `id` and `url` or `path`; `complete`, whether there is no other
            photo: those that are known and not named are deleted.
        now: when it came in. The same words with the same `at` are the same events.

    Returns:
        What became of them; wrong ones do not stop the others.

    Raises:
        InputError: a photo is named twice, or none of it can be used; then nothing is kept.
    """
    _require_each_once(said.get("photos") or ())
    events = list(events_of(store, listing_id, said, now))
    bad = [one for one in events if isinstance(one, Wrong)]
    wrong = tuple(dict.fromkeys(_why(one) for one in bad[:MOST_WRONG]))
    if events and len(bad) == len(events):
        raise InputError(f"Nothing of it can be used, and nothing was kept. {'; '.join(wrong)}.")
    let = let_in(store, events)
    return Told(let.new, let.duplicates, let.dead, wrong)


def _require_each_once(photos: Sequence[Mapping[str, Any]]) -> None:
    first: dict[str, int] = {}
    for n, photo in enumerate(photos):
        name = str(photo.get("id"))
        if (at := first.setdefault(printable(name), n)) != n:
            raise InputError(
                f"photos.{at} and photos.{n} have the same id {name[:100]!r}; nothing was kept. "
                "Name each photo once."
            )


def _why(one: Wrong) -> str:
    """Why an event cannot be used, with its photo where only that is wrong."""
    photo_id = one.record.body["raw"].get("photo_id")
    alone = not one.detail.startswith(("at:", "source:", "listing_id:"))
    return f"photo {str(photo_id)[:100]!r}: {one.detail}" if photo_id and alone else one.detail


def events_of(
    store: Store, listing_id: str, said: Mapping[str, Any], now: datetime
) -> Iterator[EventRecord | Wrong]:
    """Yield the events that a listing is told by; see `tell`."""
    head = {name: said[name] for name in ("source", "priority") if said.get(name) is not None}
    head |= {"listing_id": listing_id, "at": said.get("at") or now.isoformat()}
    about = {name: said[name] for name in ("seller_id", "attributes") if said.get(name)}
    photos = said.get("photos") or ()
    if about or not photos:
        yield read_event({"kind": LISTING_CHANGED, **head, **about}, now)
    for photo in photos:
        place = {k: photo[k] for k in ("url", "path", "position") if photo.get(k) is not None}
        one = {"kind": PHOTO_ADDED, **head, "photo_id": photo.get("id"), **place}
        yield read_event(one, now)
    if said.get("complete"):
        named = {printable(str(photo.get("id"))) for photo in photos}
        # As the events name them: escaped where no database keeps a text.
        source = printable(str(head.get("source") or SOURCE))
        known = store.order.known_photos(printable(listing_id), source)
        for photo_id in sorted(known - named):
            gone = {"kind": PHOTO_DELETED, **head, "photo_id": real_path(photo_id)}
            yield read_event(gone, now)


def listing_view(
    store: Store, models: Sequence[LiveModel], listing_id: str, top: int | None = None
) -> dict[str, Any] | None:
    """Return a listing with its photos and the stored answers of each, JSON-able.

    Args:
        store: photos and predictions.
        models: whose answers.
        listing_id: external id.
        top: classes whose probabilities are told; None for all.

    Returns:
        None where nothing is known of it and nothing is on its way. `waiting` counts its events
        that are. Photos stand by position, at most `MOST_PHOTOS`.
    """
    listing_id = printable(listing_id)
    listing, waiting = store.photos.listing(listing_id), store.order.waiting(listing_id)
    if listing is None and not waiting:
        return None
    photos = _photos(store, listing_id)
    ids = [photo.content_id for photo in photos if photo.content_id is not None]
    answers = _answers(store, models, ids, top)
    return {
        "listing_id": listing_id,
        "seller_id": listing["seller_id"] if listing else None,
        "attributes": listing["attributes"] if listing else {},
        "waiting": waiting,
        "photos": [_photo(photo, answers.get(photo.content_id or 0, {})) for photo in photos],
    }


def _photos(store: Store, listing_id: str) -> list[PhotoView]:
    """The photos that are there, by position."""
    found: list[PhotoView] = []
    for photo in store.photos.scan(listing_id=listing_id):
        found.append(photo)
        if len(found) == MOST_PHOTOS:
            break
    last = 2**31
    return sorted(found, key=lambda p: (last if p.position is None else p.position, p.photo_pk))


def _answers(
    store: Store, models: Sequence[LiveModel], ids: Sequence[int], top: int | None
) -> dict[int, dict[str, Any]]:
    """Return task to result by content id."""
    found: dict[int, dict[str, Any]] = {}
    for model in models:
        for pk, probs in store.predictions.get(model.model_id, ids).items():
            (decision,) = model.decide(probs[None])
            found.setdefault(pk, {})[model.task] = result_of(model, probs, decision, top)
    return found


def _photo(photo: PhotoView, results: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": photo.photo_id,
        "position": photo.position,
        "location": photo.location,
        "status": photo.status.value,
        "reason": photo.reason.value if photo.reason else None,
        "detail": photo.detail,
        "sha256": photo.sha256,
        "results": results,
    }
