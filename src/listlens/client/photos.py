"""Photos as a caller has them, as the records of calls."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from listlens.core.errors import PhotoError
from listlens.core.types import Reason
from listlens.images.files import Limits, read_bytes
from listlens.serve.shapes import RecordOut

Photo = str | os.PathLike[str] | bytes
"""An address (`http://`, `https://`), the path of a file, or a file's bytes."""

Named = Photo | tuple[str | int, Photo]
"""A photo, or a photo with the id to be echoed."""

BATCH_PHOTOS = 16
BATCH_BYTES = 16 * 2**20
"""Of one call; a larger photo goes alone."""

MOST_BYTES = 44 * 2**20
"""Of one photo: in base64 it still fits into what the server takes by default."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A photo that is to be sent, or one that cannot be read and is answered here."""

    record_id: str | int
    record: dict[str, Any] | None = None
    n_bytes: int = 0
    failed: RecordOut | None = None


def ready(photo: Named, index: int) -> Ready:
    """Return the record of a photo; whatever is wrong with its file is noted, nothing is raised.

    Args:
        photo: with or without an id.
        index: its place among the caller's photos: the id of bytes that have none.
    """
    record_id: str | int | None = None
    if isinstance(photo, tuple):
        record_id, photo = photo
    if isinstance(photo, str) and photo.lower().startswith(("http://", "https://")):
        record_id = photo[:500] if record_id is None else record_id
        return Ready(record_id, {"id": record_id, "url": photo}, len(photo))
    if record_id is None:
        record_id = index if isinstance(photo, bytes) else os.fsdecode(photo)[-500:]
    try:
        data = photo if isinstance(photo, bytes) else read_bytes(photo, Limits(MOST_BYTES))
        _require_size(len(data))
    except PhotoError as error:
        return Ready(record_id, failed=refused(record_id, error.reason, error.detail))
    text = base64.b64encode(data).decode("ascii")
    return Ready(record_id, {"id": record_id, "base64": text}, len(text))


def _require_size(n_bytes: int) -> None:
    if n_bytes > MOST_BYTES:
        detail = f"{n_bytes:,} bytes; at most {MOST_BYTES:,} are sent. Save it smaller."
        raise PhotoError(Reason.TOO_MANY_BYTES, detail)


def refused(record_id: str | int, reason: Reason, detail: str) -> RecordOut:
    """Return a record that failed before it was sent."""
    return RecordOut(
        id=record_id, status="failed", results=None, reason=reason.value, detail=detail, retry=False
    )


def batches(
    photos: Iterable[Named], n_photos: int = BATCH_PHOTOS, n_bytes: int = BATCH_BYTES
) -> Iterator[list[Ready]]:
    """Cut photos into calls, reading ahead no further than one; order is kept.

    Args:
        photos: any number.
        n_photos: a call holds at most.
        n_bytes: a call holds at most, in base64, unless one photo alone has more.
    """
    batch: list[Ready] = []
    held = 0
    for index, photo in enumerate(photos):
        one = ready(photo, index)
        if batch and (len(batch) >= n_photos or held + one.n_bytes > n_bytes):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += one.n_bytes
    if batch:
        yield batch


def merged(batch: list[Ready], answered: list[RecordOut]) -> list[RecordOut]:
    """Return what became of a batch, in order: what the server said, and what failed here."""
    answers = iter(answered)
    return [one.failed if one.failed is not None else next(answers) for one in batch]
