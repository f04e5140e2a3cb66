"""The text in stored photos: read once a content, searched, shown with its boxes."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listlens.core.errors import InputError, NotFoundError, PhotoError
from listlens.core.text import Reading
from listlens.core.types import Reason, Status
from listlens.images.text import TextReader
from listlens.images.text_page import ReadPhoto, write_text_page
from listlens.pipeline.contents import batched, read_file, worker_pool
from listlens.pipeline.notebook import PhotoList, hits

if TYPE_CHECKING:
    from listlens.images.files import Limits
    from listlens.store.open import Store
    from listlens.store.photos import PhotoView

READ_BLOCK = 32
"""Contents a transaction: what a kill can cost, about ten seconds."""


@dataclass(frozen=True)
class TextReport:
    """What one reading of the photos' text did, in contents that a photo of a source still shows.

    Args:
        read: now.
        already: before.
        failed: could not be read now: the file is gone or has other bytes.
        with_text: of all that were ever read, how many hold text.
        seconds: from start to end.
    """

    read: int
    already: int
    failed: int
    with_text: int
    seconds: float = 0.0

    @property
    def any_read(self) -> bool:
        """Whether there is anything to show or to search."""
        return bool(self.read or self.already)


class PhotoText:
    """The text in a project's photos.

    Args:
        store: photos, and what was read in them.
        limits: bounds for the photos.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._limits = store, limits

    def read(
        self, progress: Callable[[int, int | None, str], None] = lambda done, total, remark: None
    ) -> TextReport:
        """Read every content shown that was not read by this reader yet; resumes where it stopped.

        Args:
            progress: called with the contents passed, their number, and a remark.

        Raises:
            MissingExtraError: the extra `text` is not installed.
        """
        started = time.monotonic()
        reader = TextReader()
        live = self._store.photos.scan(status=Status.OK)
        shown = list(dict.fromkeys(p.content_id for p in live if p.content_id is not None))
        todo = self._store.readings.missing(reader.name, shown)
        done = failed = 0
        already = len(shown) - len(todo)
        with worker_pool() as pool:
            for block in batched(todo, READ_BLOCK):
                photos = self._store.photos.by_content(block)
                answers = pool.map(lambda shows: self._read_one(reader, shows[0]), photos.values())
                found = {
                    pk: answer
                    for pk, answer in zip(photos, answers, strict=True)
                    if isinstance(answer, Reading)
                }
                done += self._store.readings.save(found)
                failed += len(photos) - len(found)
                progress(already + done + failed, len(shown), f"{failed} failed")
        seconds = round(time.monotonic() - started, 3)
        return TextReport(done, already, failed, self._store.readings.counts()[1], seconds)

    def _read_one(self, reader: TextReader, photo: PhotoView) -> Reading | PhotoError:
        """Read one file, if it still has the bytes that were ingested."""
        file = read_file(photo.location, self._limits)
        if file.error is not None:
            return file.error
        if file.sha256 != photo.sha256:
            return PhotoError(Reason.MISSING, "it has other bytes now: ingest it again")
        try:
            return reader.read(file.data, self._limits)
        except PhotoError as error:
            return error

    def search(self, words: str, limit: int = 20) -> PhotoList[dict[str, Any]]:
        """Find the photos in whose text every one of some words occurs, the surest first.

        Args:
            words: one or more, in any case. A word is also found inside a longer one, since
                recognition often loses the space between two.
            limit: how many photos at most.

        Returns:
            listing_id, image, text (the lines that hold a word), confidence of the least sure
            word, and location.

        Raises:
            InputError: there is no word.
            NotFoundError: no photo was read yet.
        """
        wanted = words.casefold().split()
        if not wanted:
            raise InputError("no word to search for; give one or more, such as 'sale'.")
        if not self._store.readings.counts()[0]:
            raise NotFoundError("no photo's text was read yet: listlens text")
        found = ((*_match(reading, wanted), pk) for pk, reading in self._store.readings.scan(words))
        best = heapq.nlargest(limit, self._shown(found), key=lambda hit: hit[0])
        rows = [
            {
                "listing_id": photo.listing_id,
                "image": photo.photo_id,
                "text": text,
                "confidence": confidence,
                "location": photo.location,
            }
            for confidence, text, photos in best
            for photo in photos
        ]
        return hits(rows[:limit])

    def _shown(
        self, hits: Iterator[tuple[float, str, int]]
    ) -> Iterator[tuple[float, str, list[PhotoView]]]:
        """Put the photos in place of the contents; contents that no live photo shows drop out."""
        for block in batched(hits, 1000):
            photos = self._store.photos.by_content(pk for _, _, pk in block)
            yield from ((sure, text, photos[pk]) for sure, text, pk in block if pk in photos)

    def page(self, path: Path) -> dict[str, Any]:
        """Write one HTML page: the photos with text, its boxes and words.

        Returns:
            JSON-able: how many were read, how many hold text, and ``page``.

        Raises:
            NotFoundError: no photo was read yet.
        """
        n_read, n_text = self._store.readings.counts()
        if not n_read:
            raise NotFoundError("no photo's text was read yet: listlens text")
        found = heapq.nlargest(
            ReadPhoto.MOST_SHOWN,
            self._store.readings.scan(),
            key=lambda item: item[1].measures.get("text_area", 0.0),
        )
        photos = self._store.photos.by_content(pk for pk, _ in found)
        shown = [
            ReadPhoto(
                photos[pk][0].photo_id,
                reading,
                self._store.thumbnails.get(photos[pk][0].sha256 or ""),
            )
            for pk, reading in found
            if pk in photos
        ]
        write_text_page(path, shown, n_read=n_read, n_text=n_text)
        return {"read": n_read, "with_text": n_text, "page": str(path)}


def _match(reading: Reading, wanted: list[str]) -> tuple[float, str]:
    """Confidence of the least sure word, and the lines that hold one."""
    lines = [(line.text.casefold(), line) for line in reading.lines]
    surest = [max((x.confidence for t, x in lines if word in t), default=0.0) for word in wanted]
    text = " / ".join(x.text for t, x in lines if any(word in t for word in wanted))
    return min(surest), text
