"""Bytes to a prepared, embedded content: the costly steps, in threads, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from listlens.backbones.registry import usable_cores
from listlens.core.errors import FetchError, PhotoError
from listlens.core.types import Reason, Status
from listlens.images.files import read_bytes
from listlens.images.prepare import Prepared, prepare
from listlens.pipeline.remote import ask, read_url
from listlens.sources.paths import real_path
from listlens.sources.room import SHORT_BYTES
from listlens.sources.urls import is_url
from listlens.store.contents import ContentRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from listlens.core.ports import Backbone
    from listlens.core.types import Preprocessing
    from listlens.images.decode import Limits
    from listlens.sources.fetching import Fetcher
    from listlens.sources.room import Lease, Room

T = TypeVar("T")

CHUNK_FILES = 64
CHUNK_BYTES = 64 * 2**20
"""Files read ahead at once are bounded in number and bytes, so that memory stays flat."""

THUMBNAIL_PX = 320
"""Long side of a thumbnail, whether kept or made anew for a report."""


def worker_pool(n_threads: int | None = None) -> ThreadPoolExecutor:
    """One thread a core; not processes: decoding, hashing and the network release the GIL."""
    return ThreadPoolExecutor(n_threads or usable_cores(), thread_name_prefix="listlens")


@dataclass(frozen=True, slots=True)
class FileRead:
    """The bytes of one file and their sha256 (hex), or why there are none.

    Args:
        data: the bytes.
        sha256: of them, in hex.
        n_bytes: their number.
        error: why there are none.
        etag: of a URL, to ask later whether it changed.
        modified: likewise.
        same: a URL's photo is what it was, so that it was not sent again.
        passing: why a URL's photo could not be had now, although it may later.
        lease: of the memory for many bytes.
        later: too many bytes of others wait already; to be fetched again by itself.
    """

    data: bytes = b""
    sha256: str = ""
    n_bytes: int = 0
    error: PhotoError | None = None
    etag: str | None = None
    modified: str | None = None
    same: bool = False
    passing: FetchError | None = None
    lease: Lease | None = None
    later: bool = False

    def without_data(self) -> FileRead:
        """The same, free of the bytes, which are large."""
        return replace(self, data=b"", lease=None)


def read_file(location: str, limits: Limits) -> FileRead:
    """Read and hash one file given by its printable location, or fetch and hash a URL's photo.

    Never raises for a bad one.
    """
    try:
        if is_url(location):
            data = read_url(location, limits)
        else:
            data = read_bytes(real_path(location), limits)
    except PhotoError as error:
        return FileRead(error=error)
    return FileRead(data, hashlib.sha256(data).hexdigest(), len(data))


def fetch_file(
    url: str, fetcher: Fetcher, etag: str | None, modified: str | None, room: Room
) -> FileRead:
    """Fetch and hash one photo if it changed; never raises for a bad one.

    What is long and finds no room beside others that wait is let go of, and fetched again later.
    """
    try:
        got = ask(fetcher, url, etag, modified)
    except PhotoError as error:
        return FileRead(error=error)
    except FetchError as error:
        return FileRead(error=PhotoError(error.reason, error.detail), passing=error)
    if got.not_modified:
        return FileRead(etag=got.etag or etag, modified=got.modified or modified, same=True)
    n_bytes, lease = len(got.data), None
    if n_bytes > SHORT_BYTES and (lease := room.take(n_bytes, wait_s=0.0)) is None:
        return FileRead(later=True)
    sha256 = hashlib.sha256(got.data).hexdigest()
    return FileRead(got.data, sha256, n_bytes, None, got.etag, got.modified, lease=lease)


def prepare_bytes(
    data: bytes, preprocessing: Preprocessing, limits: Limits, *, thumbnail_px: int, measure: bool
) -> Prepared | PhotoError:
    """`prepare`, with the failure as a value, so that one bad photo stops nothing."""
    try:
        return prepare(
            data, preprocessing, limits=limits, thumbnail_px=thumbnail_px, measure=measure
        )
    except PhotoError as error:
        return error


def load_files(
    locations: Sequence[str],
    ways: Sequence[Preprocessing],
    limits: Limits,
    pool: Executor,
    expected: Sequence[str] | None = None,
) -> tuple[list[list[NDArray[np.uint8]]], list[PhotoError | None]]:
    """Read files once each, and prepare them in one or more ways.

    Args:
        locations: printable absolute paths.
        ways: of preparing them.
        limits: bounds for the photos.
        pool: threads that read and decode.
        expected: sha256 (hex) of each file, where only these bytes will do.

    Returns:
        For each way the pixels of the usable photos, in order; and for each location its error or
        None.
    """

    def load(location: str, sha256: str | None) -> Any:
        read = read_file(location, limits)
        if read.error is not None:
            return read.error
        if sha256 is not None and read.sha256 != sha256:
            return PhotoError(Reason.MISSING, f"{location} has other bytes now: ingest it again")
        made = [
            prepare_bytes(read.data, way, limits, thumbnail_px=0, measure=False) for way in ways
        ]
        return next((m for m in made if isinstance(m, PhotoError)), made)

    results = list(pool.map(load, locations, expected or [None] * len(locations)))
    errors = [result if isinstance(result, PhotoError) else None for result in results]
    usable = [result for result in results if not isinstance(result, PhotoError)]
    return [[made[i].pixels for made in usable] for i in range(len(ways))], errors


def usable_content(sha256: str, n_bytes: int, prepared: Prepared) -> ContentRecord:
    """What to store of bytes that decoded."""
    return ContentRecord(
        sha256,
        n_bytes,
        prepared.format,
        prepared.width_px,
        prepared.height_px,
        prepared.measures.as_dict() if prepared.measures is not None else None,
        Status.OK,
    )


def failed_content(sha256: str, n_bytes: int, error: PhotoError) -> ContentRecord:
    """What to store of bytes that are no usable photo, so that they are not tried again."""
    return ContentRecord(sha256, n_bytes, "", 0, 0, None, Status.FAILED, error.reason, error.detail)


def embed_all(backbone: Backbone, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float16]:
    """Embed prepared photos, any number: `(n, dim)`. The backbone spreads them over its threads."""
    if not pixels:
        return np.empty((0, backbone.space.dim), np.float16)
    return backbone.embed(np.stack(pixels))


def batched(items: Iterable[T], n: int) -> Iterator[list[T]]:
    """Yield lists of up to n items, lazily (itertools.batched needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, n)):
        yield batch


def bounded_chunks(items: Iterable[T], sizes: Iterable[int]) -> Iterator[list[T]]:
    """Cut into chunks of at most CHUNK_FILES items and CHUNK_BYTES bytes (at least one item)."""
    chunk: list[T] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if chunk and (len(chunk) >= CHUNK_FILES or total + size > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk
