"""Bring photos in: every row of a source ends as a row of the store, every new content is read,
decoded, measured and embedded once.

Killed at any moment and started again, it goes on: contents are named by their hash, and a photo
row is written only after its content and embedding are on disk.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from listlens.core.errors import PhotoError
from listlens.core.types import ListingRow, PhotoRow, Reason, RejectedRow, Status
from listlens.pipeline.contents import (
    THUMBNAIL_PX,
    FileRead,
    batched,
    bounded_chunks,
    embed_all,
    failed_content,
    fetch_file,
    prepare_bytes,
    read_file,
    usable_content,
    worker_pool,
)
from listlens.pipeline.remote import AT_ONCE, ESTIMATE_BYTES, Reach
from listlens.pipeline.rows import RETRIED, Item, storable, with_file
from listlens.sources.room import Room
from listlens.store.contents import KnownContent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone, Source
    from listlens.core.types import SourceRow
    from listlens.images.decode import Limits
    from listlens.images.prepare import Prepared
    from listlens.store.contents import ContentRecord
    from listlens.store.open import Store
    from listlens.store.photos import PhotoRecord

ROWS_AT_ONCE = 256
COMMIT_CONTENTS = 512
COMMIT_S = 10.0
"""Results are committed every 512 new contents or 10 s: what a kill can cost."""

_FORGOTTEN = RejectedRow("", Reason.FORGOTTEN, "")
"""Names nothing: the store is not to know again what was forgotten."""


@dataclass
class IngestReport:
    """What one ingest did. Every row of the source is in exactly one of the first five counts."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0
    """of the unchanged photos, how many are behind URLs that gave no answer now"""
    rejected: int = 0
    listings: int = 0
    failed: int = 0
    """of the photos above, how many cannot be used"""
    reasons: dict[str, int] = field(default_factory=dict)
    gone: int = 0
    moved: int = 0
    """of the gone photos, how many stand elsewhere now with equal bytes"""
    embedded: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class IngestOptions:
    """Bounds and choices; see `listlens.toml`."""

    limits: Limits
    keep_thumbnails: bool = True
    n_threads: int | None = None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Items whose files are being read, then prepared, then embedded."""

    items: list[Item]
    reads: list[FileRead]
    prepared: dict[str, Future[Prepared | PhotoError]]


def ingest(
    source: Source,
    store: Store,
    backbone: Backbone,
    options: IngestOptions,
    progress: Callable[[int, int], None] = lambda done, failed: None,
) -> IngestReport:
    """Bring a source up to date in the store.

    Args:
        source: where rows come from; its name identifies it on the next run.
        store: where they go.
        backbone: embeds each new content.
        options: bounds and choices.
        progress: called with the rows done and the photos failed so far.

    Returns:
        Counts of what happened; each row of the source is in one of them.
    """
    started = time.monotonic()
    source_id = store.photos.source(source.name, type(source).__name__, source.name)
    ingest_id = store.photos.begin_ingest(source_id)
    with worker_pool(options.n_threads) as pool, ThreadPoolExecutor(AT_ONCE) as fetchers:
        line = _Line(store, backbone, options, pool, source_id, ingest_id, progress)
        reading: deque[tuple[list[Item], list[Future[FileRead]]]] = deque()
        room = Room()
        for chunk in _changed_chunks(source.rows(), line):
            reads = [_start_reading(item, options.limits, pool, fetchers, room) for item in chunk]
            reading.append((chunk, reads))
            if len(reading) > 1:
                line.prepare(*reading.popleft())
        for last in reading:
            line.prepare(*last)
        line.finish_all()
    report = line.report
    report.gone = store.photos.finish_ingest(ingest_id)
    report.moved = _moved(store, source_id, line.new_contents) if report.gone else 0
    report.reasons = dict(line.reasons.most_common())
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _start_reading(
    item: Item, limits: Limits, pool: Executor, fetchers: Executor, room: Room
) -> Future[FileRead]:
    """Begin to read a file, or to ask a URL for its photo if it changed."""
    location = item.row.location
    if item.remote and isinstance(limits, Reach):
        return fetchers.submit(fetch_file, location, limits.fetcher, *item.validators, room)
    return pool.submit(read_file, location, limits)


def _moved(store: Store, source_id: int, new_contents: set[int]) -> int:
    """Photos gone from their place whose bytes came in at a new place in this run."""
    gone = store.photos.scan(status=Status.GONE, source_id=source_id)
    return len(new_contents & {photo.content_id for photo in gone if photo.content_id})


def _changed_chunks(rows: Iterable[SourceRow], line: _Line) -> Iterator[list[Item]]:
    """Settle what needs no reading, and yield the rest in chunks bounded in files and bytes."""
    for batch in batched(map(storable, rows), ROWS_AT_ONCE):
        todo = line.settle(
            [row for row in batch if not isinstance(row, PhotoRow)],
            [row for row in batch if isinstance(row, PhotoRow)],
        )
        guess = ESTIMATE_BYTES
        sizes = (max(item.size_bytes or 0, guess if item.remote else 0) for item in todo)
        yield from bounded_chunks(todo, sizes)


class _Line:
    """The state of one ingest: what waits to be committed, and the counts."""

    def __init__(
        self,
        store: Store,
        backbone: Backbone,
        options: IngestOptions,
        pool: ThreadPoolExecutor,
        source_id: int,
        ingest_id: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self.store, self.backbone, self.options, self.pool = store, backbone, options, pool
        self.source_id, self.ingest_id, self.progress = source_id, ingest_id, progress
        self.report = IngestReport()
        self.reasons: Counter[str] = Counter()
        self.new_contents: set[int] = set()
        self._photos: list[tuple[Item, str, PhotoError | None]] = []  # with sha256 or error
        self._contents: dict[str, ContentRecord] = {}
        self._thumbnails: dict[str, bytes] = {}
        self._vectors: dict[str, NDArray[np.float16]] = {}
        self._in_flight: set[str] = set()
        self._seen: list[int] = []
        self._said_anew: list[Item] = []
        self._preparing: deque[_Chunk] = deque()
        self._committed_at = time.monotonic()

    # -- before reading ---------------------------------------------------------------------

    def settle(self, others: list[Any], rows: list[PhotoRow]) -> list[Item]:
        """Store what needs no reading; return the photos whose files must be read."""
        rejected = [row for row in others if isinstance(row, RejectedRow)]
        listings = [row for row in others if isinstance(row, ListingRow)]
        keys = [(row.listing_id, row.photo_id) for row in rows]
        sellers = [row.seller_id for row in rows]
        forgotten = self.store.photos.forgotten(keys, sellers)
        self._reject(rejected + [_FORGOTTEN] * sum(key in forgotten for key in keys))
        rows = [row for row, key in zip(rows, keys, strict=True) if key not in forgotten]
        self.store.photos.save_listings(listings)
        self.report.listings += len(listings)
        known = self.store.photos.known(self.source_id, keys)
        items = list(
            self.pool.map(with_file, rows, (known.get((r.listing_id, r.photo_id)) for r in rows))
        )
        self._keep([item for item in items if item.unchanged])
        return [item for item in items if not item.unchanged]

    def _reject(self, rows: list[RejectedRow]) -> None:
        """Store and count rows that cannot be used."""
        self.store.photos.reject(self.source_id, self.ingest_id, rows)
        self.report.rejected += len(rows)
        self.reasons.update(row.reason.value for row in rows)

    def _keep(self, items: list[Item]) -> None:
        """Unchanged photos are only marked as seen."""
        seen = [item.known for item in items if item.known is not None]
        self.store.photos.touch(self.ingest_id, [known.photo_pk for known in seen])
        for item in items:
            self._count(item, item.known.reason if item.known else None)

    # -- reading, preparing, embedding ------------------------------------------------------

    def prepare(self, items: list[Item], futures: list[Future[FileRead]]) -> None:
        """Wait for the bytes and start decoding them, and finish what was begun before.

        Photos that found no room are fetched again, one by one.
        """
        reads = [future.result() for future in futures]
        now = [not read.later for read in reads]
        self._start_preparing(list(compress(items, now)), list(compress(reads, now)))
        for item, read in zip(items, reads, strict=True):
            if read.later and isinstance(limits := self.options.limits, Reach):
                again = fetch_file(item.row.location, limits.fetcher, *item.validators, Room())
                self._start_preparing([item], [again])

    def _start_preparing(self, items: list[Item], reads: list[FileRead]) -> None:
        """Start decoding those contents that nobody has settled yet."""
        items, reads = self._settle_remote(items, reads)
        shas = {read.sha256 for read in reads if read.error is None}
        if forgotten := self.store.contents.forgotten(shas):
            # Forgotten bytes stay out under any name; a photo that shows them now is gone.
            self._reject([_FORGOTTEN] * sum(read.sha256 in forgotten for read in reads))
            kept = [read.sha256 not in forgotten for read in reads]
            items, reads = list(compress(items, kept)), list(compress(reads, kept))
            shas -= forgotten
        settled = self._settled(shas)
        prepared: dict[str, Future[Prepared | PhotoError]] = {}
        for read in reads:
            if read.error or read.sha256 in settled or read.sha256 in self._in_flight:
                continue
            self._in_flight.add(read.sha256)
            prepared[read.sha256] = self.pool.submit(
                prepare_bytes,
                read.data,
                self.backbone.preprocessing,
                self.options.limits,
                thumbnail_px=THUMBNAIL_PX if self.options.keep_thumbnails else 0,
                measure=True,
            )
        self._preparing.append(_Chunk(items, [read.without_data() for read in reads], prepared))
        if len(self._preparing) > 1:
            self._finish(self._preparing.popleft())

    def finish_all(self) -> None:
        """Finish what was begun, and commit."""
        for chunk in self._preparing:
            self._finish(chunk)
        self.commit()

    def _settle_remote(
        self, items: list[Item], reads: list[FileRead]
    ) -> tuple[list[Item], list[FileRead]]:
        """Keep what URLs did not send again, or cannot now; return the others as they came."""
        rest: list[tuple[Item, FileRead]] = []
        for item, read in zip(items, reads, strict=True):
            kept = item.settled and (read.same or read.passing is not None)
            if not kept or item.known is None:
                rest.append((item.fetched(read) if item.remote else item, read))
                continue
            if read.same and not item.known.says(item.row):
                self._said_anew.append(item.fetched(read))
            else:
                self._seen.append(item.known.photo_pk)
            self.report.stale += read.passing is not None
            self._count(item, item.known.reason, unchanged=item.known.says(item.row))
        return [item for item, _ in rest], [read for _, read in rest]

    def _settled(self, shas: set[str]) -> set[str]:
        """Contents in the store that need nothing: failed for good, or with an embedding."""
        known = self.store.contents.lookup(sorted(shas))
        done = {
            sha
            for sha, content in known.items()
            if content.status is Status.FAILED and content.reason not in RETRIED
        }
        usable = {
            content.content_id: sha for sha, content in known.items() if content.status is Status.OK
        }
        missing = set(self.store.vectors.missing(self.backbone.space, list(usable)))
        return done | {sha for cid, sha in usable.items() if cid not in missing}

    def _finish(self, chunk: _Chunk) -> None:
        """Collect one chunk, embed its new contents, and commit when enough has gathered."""
        fresh: list[str] = []
        pixels = []
        sizes = {read.sha256: read.n_bytes for read in chunk.reads}
        for sha, future in chunk.prepared.items():
            result = future.result()
            if isinstance(result, PhotoError):
                self._contents[sha] = failed_content(sha, sizes[sha], result)
                continue
            self._contents[sha] = usable_content(sha, sizes[sha], result)
            if result.thumbnail is not None:
                self._thumbnails[sha] = result.thumbnail
            fresh.append(sha)
            pixels.append(result.pixels)
        vectors = embed_all(self.backbone, pixels)
        self._vectors.update(zip(fresh, vectors, strict=True))
        self._photos += [
            (item, read.sha256, read.error)
            for item, read in zip(chunk.items, chunk.reads, strict=True)
        ]
        late = time.monotonic() - self._committed_at > COMMIT_S
        if max(len(self._contents), len(self._seen)) >= COMMIT_CONTENTS or late:
            self.commit()

    # -- committing -------------------------------------------------------------------------

    def commit(self) -> None:
        """Contents, then their files, then the photos that rest on them.

        A thumbnail of an unknown content is thus nobody's, and may be swept.
        """
        self.store.contents.save(list(self._contents.values()))
        for sha, thumbnail in self._thumbnails.items():
            self.store.thumbnails.put(sha, thumbnail)
        known = self.store.contents.lookup(sorted({sha for _, sha, _ in self._photos if sha}))
        if self._vectors:
            content_ids = [known[sha].content_id for sha in self._vectors]
            vectors = np.stack(list(self._vectors.values()))
            self.store.vectors.put(self.backbone.space, content_ids, vectors)
            self.report.embedded += len(content_ids)
        photos = [self._record(item, known.get(sha), error) for item, sha, error in self._photos]
        photos += self._records_said_anew()
        self.store.photos.save(self.source_id, self.ingest_id, photos)
        self.store.photos.touch(self.ingest_id, self._seen)
        self._seen.clear()
        self._said_anew.clear()
        self._in_flight -= set(self._contents)
        self._photos.clear()
        self._contents.clear()
        self._thumbnails.clear()
        self._vectors.clear()
        self._committed_at = time.monotonic()

    def _records_said_anew(self) -> list[PhotoRecord]:
        """Rows of photos whose bytes are what they were, and of which the source says more."""
        pks = [item.known.content_id for item in self._said_anew if item.known is not None]
        contents = self.store.contents.get(pk for pk in pks if pk is not None)
        return [
            item.record(KnownContent(pk, c.status, c.reason, c.detail), None)
            for item, pk in zip(self._said_anew, pks, strict=True)
            if pk is not None and (c := contents.get(pk)) is not None
        ]

    def _record(
        self, item: Item, content: KnownContent | None, error: PhotoError | None
    ) -> PhotoRecord:
        """The row of one photo whose file was read, or could not be."""
        self._count(item, content.reason if content else error.reason if error else None)
        if item.known is None and content is not None:
            self.new_contents.add(content.content_id)
        return item.record(content, error)

    def _count(self, item: Item, reason: Reason | None, *, unchanged: bool = False) -> None:
        """Put one photo in its count, and tell how far we are."""
        report = self.report
        if item.known is None:
            report.new += 1
        elif item.unchanged or unchanged:
            report.unchanged += 1
        else:
            report.changed += 1
        if reason is not None:
            report.failed += 1
            self.reasons[reason.value] += 1
        self.progress(report.new + report.changed + report.unchanged, report.failed)
