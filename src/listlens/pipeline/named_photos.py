"""A photo as a person names it: a file, or the id of a photo of the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from listlens.core.errors import PhotoError
from listlens.core.types import Reason, Status
from listlens.sources.paths import printable

if TYPE_CHECKING:
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

PhotoName = str | os.PathLike[str]


def is_file(photo: PhotoName) -> bool:
    """Whether this is a path; an id may be longer than a system lets paths be."""
    try:
        return Path(photo).exists()
    except (OSError, ValueError):
        return False


def stored_photo(store: Store, photo: PhotoName) -> PhotoView:
    """Return the usable photo of the project with this id, the first that came in.

    Raises:
        PhotoError: there is none.
    """
    name = printable(os.fspath(photo))
    known = store.photos.by_photo_id([name]).get(name, [])
    usable = [view for view in known if view.status is Status.OK]
    if not usable:
        raise PhotoError(
            Reason.MISSING, f"there is no file {name}, nor a usable photo of this project"
        )
    return usable[0]


def location_of(store: Store, photo: PhotoName) -> str:
    """Return where a photo's file is: as given, or of the photo with this id.

    Raises:
        PhotoError: it is neither.
    """
    return printable(os.fspath(photo)) if is_file(photo) else stored_photo(store, photo).location
