"""Telling listlens of uploads: after the commit, so that it never hears of what was rolled back."""

import logging
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from listlens.client import Client, Retries
from listlens.core.errors import ListlensError
from shop.models import Photo

log = logging.getLogger(__name__)

SHORT = Retries(attempts=2, most_s=1.0)
"""A person waits for the upload; what fails here is told by `manage.py tell_listlens`."""


def connect() -> None:
    """Listen to what happens to photos."""
    post_save.connect(on_saved, sender=Photo)
    post_delete.connect(on_deleted, sender=Photo)


def on_saved(sender: type, instance: Photo, **_: object) -> None:
    transaction.on_commit(partial(tell, [instance]))


def on_deleted(sender: type, instance: Photo, **_: object) -> None:
    transaction.on_commit(partial(send, [deleted(instance.listing_id, instance.pk)]))


def tell(photos: list[Photo]) -> bool:
    """Tell of photos that are there; note that listlens knows them."""
    if not send([added(photo) for photo in photos]):
        return False
    # Not .save(), which would be told again.
    Photo.objects.filter(pk__in=[photo.pk for photo in photos]).update(told=True)
    return True


def send(events: list[dict[str, object]], retries: Retries = SHORT) -> bool:
    """Put events; whatever is wrong is logged, and the upload goes on."""
    try:
        with client(retries) as listlens:
            listlens.put(events)
    except ListlensError as error:
        log.warning("listlens was not told: %s", error)
        return False
    return True


def client(retries: Retries | None = None) -> Client:
    return Client(settings.LISTLENS_URL, settings.LISTLENS_TOKEN, retries=retries, timeout_s=5)


def added(photo: Photo) -> dict[str, object]:
    return {
        "kind": "photo.added",
        "listing_id": photo.listing_id,
        "photo_id": photo.pk,
        "url": settings.SITE_URL + photo.file.url,
        "position": photo.position,
    }


def deleted(listing_id: int, photo_id: int) -> dict[str, object]:
    return {"kind": "photo.deleted", "listing_id": listing_id, "photo_id": photo_id}
