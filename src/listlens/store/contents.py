"""Contents: the bytes behind photos, named by sha256; decoded, measured and embedded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError
from listlens.core.types import Reason, Status
from listlens.store.database import Database, chunks, clean_text
from listlens.store.schema import content, photo, space, vector
from listlens.store.tombstones import Tombstones


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """What decoding found out about some bytes.

    Args:
        sha256: 64 hex digits.
        n_bytes: length of the file.
        format: such as ``JPEG``, or None where it was not recognised.
        width_px: of the full picture, orientation applied.
        height_px: likewise.
        measures: raw measures; `phash`, where present, is a 64-bit unsigned integer.
        status: OK or FAILED.
        reason: why it failed.
        detail: one sentence for a person.
    """

    sha256: str
    n_bytes: int
    format: str | None
    width_px: int | None
    height_px: int | None
    measures: Mapping[str, float | int] | None
    status: Status
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ContentView:
    """A content as stored; `measures` holds `phash` again, unsigned."""

    content_id: int
    sha256: str
    n_bytes: int
    format: str | None
    width_px: int | None
    height_px: int | None
    measures: dict[str, float | int] | None
    status: Status
    reason: Reason | None
    detail: str


class KnownContent(NamedTuple):
    """What `Contents.lookup` says of bytes that were decoded before."""

    content_id: int
    status: Status
    reason: Reason | None
    detail: str


class Unembedded(NamedTuple):
    """A content without an embedding, and where one live photo of it lies."""

    content_id: int
    sha256: str
    location: str


class Contents:
    """Contents by id and by sha256."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tombstones = Tombstones(database)

    def forgotten(self, sha256s: Iterable[str]) -> set[str]:
        """Return those sha256 whose bytes were deleted on request and must not come back."""
        return self._tombstones.among_contents(sha256s)

    def lookup(self, sha256s: Iterable[str]) -> dict[str, KnownContent]:
        """Return what is known of these bytes; absent keys are new."""
        query = sa.select(
            content.c.sha256, content.c.id, content.c.status, content.c.reason, content.c.detail
        )
        found: dict[str, KnownContent] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(sha256s)):
                keys = [_raw(sha) for sha in block]
                for row in connection.execute(query.where(content.c.sha256.in_(keys))):
                    known = KnownContent(row.id, Status(row.status), _reason(row), row.detail)
                    found[bytes(row.sha256).hex()] = known
        return found

    def after(self, content_id: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` contents with a higher id, in order: (id, the sha256's 32 bytes)."""
        query = sa.select(content.c.id, content.c.sha256).where(content.c.id > content_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(content.c.id).limit(limit))
            return [(row.id, bytes(row.sha256)) for row in rows]

    def hold(self, content_ids: Iterable[int]) -> set[int]:
        """Return those that are still there, and keep them there until the transaction ends.

        To be called in the transaction (`Database.together`) that refers to them.
        """
        query = sa.select(content.c.id).order_by(content.c.id)
        with self._db.write() as connection:
            return {
                pk
                for block in chunks(sorted(set(content_ids)))
                for pk in connection.execute(
                    query.where(content.c.id.in_(block)).with_for_update(read=True, key_share=True)
                ).scalars()
            }

    def save(self, records: Sequence[ContentRecord]) -> list[int]:
        """Insert or update by sha256; return one content_id per record, in order."""
        if not records:
            return []
        insert = self._db.insert(content)
        fixed = {"id", "sha256", "created_at"}
        update = {c.name: insert.excluded[c.name] for c in content.c if c.name not in fixed}
        upsert = insert.on_conflict_do_update(index_elements=["sha256"], set_=update)
        now = self._db.clock()
        # In one order everywhere, so that two PostgreSQL writers cannot lock each other out.
        rows = [_values(record, now) for record in sorted(records, key=lambda r: r.sha256)]
        with self._db.write() as connection:
            self._db.bulk(connection, upsert, rows)
            ids = _ids(connection, rows)
        return [ids[_raw(record.sha256)] for record in records]

    def scan(self, batch: int = 1000) -> Iterator[ContentView]:
        """Yield all contents in the order of their ids; memory stays flat."""
        last = 0
        while True:
            query = sa.select(content).where(content.c.id > last)
            with self._db.read() as connection:
                page = connection.execute(query.order_by(content.c.id).limit(batch)).all()
            yield from map(_view, page)
            if len(page) < batch:
                return
            last = page[-1].id

    def get(self, content_ids: Iterable[int]) -> dict[int, ContentView]:
        """Return these contents by id; absent ids have no key."""
        found: dict[int, ContentView] = {}
        with self._db.read() as connection:
            for block in chunks(dict.fromkeys(content_ids)):
                for row in connection.execute(sa.select(content).where(content.c.id.in_(block))):
                    found[row.id] = _view(row)
        return found

    def without_vector(self, space_id: str, batch: int = 1000) -> Iterator[Unembedded]:
        """Yield usable contents that have no embedding in a space, in the order of their ids.

        Args:
            space_id: `EmbeddingSpace.id`.
            batch: contents per query.

        Yields:
            Contents with status OK that at least one photo with status OK shows.
        """
        embedded = (
            sa.select(vector.c.content_id)
            .join(space, vector.c.space_id == space.c.id)
            .where(space.c.key == space_id, vector.c.content_id == content.c.id)
            .exists()
        )
        live = sa.and_(photo.c.content_id == content.c.id, photo.c.status == Status.OK.value)
        where = sa.select(photo.c.location).where(live).limit(1).scalar_subquery()
        query = (
            sa.select(content.c.id, content.c.sha256, where.label("location"))
            .where(content.c.status == Status.OK.value, ~embedded)
            .order_by(content.c.id)
            .limit(batch)
        )
        last = 0
        while True:
            with self._db.read() as connection:
                page = connection.execute(query.where(content.c.id > last)).all()
            for row in page:
                if row.location is not None:
                    yield Unembedded(row.id, bytes(row.sha256).hex(), row.location)
            if len(page) < batch:
                return
            last = page[-1].id


def _raw(sha256: str) -> bytes:
    """Return the 32 bytes of a sha256 in hex."""
    try:
        raw = bytes.fromhex(sha256)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise InputError(f"{sha256!r} is not a sha256; give its 64 hex digits")
    return raw


def _reason(row: Any) -> Reason | None:
    return Reason(row.reason) if row.reason else None


def _values(record: ContentRecord, now: Any) -> dict[str, Any]:
    measures = None if record.measures is None else dict(record.measures)
    phash = None if measures is None else measures.pop("phash", None)
    return {
        "sha256": _raw(record.sha256),
        "n_bytes": record.n_bytes,
        "format": record.format,
        "width_px": record.width_px,
        "height_px": record.height_px,
        "measures": measures,
        "phash": None if phash is None else signed(int(phash)),
        "status": record.status.value,
        "reason": None if record.reason is None else record.reason.value,
        "detail": clean_text(record.detail),
        "created_at": now,
    }


def _ids(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    query = sa.select(content.c.sha256, content.c.id)
    for block in chunks(row["sha256"] for row in rows):
        for sha256, pk in connection.execute(query.where(content.c.sha256.in_(block))):
            found[bytes(sha256)] = pk
    return found


def _view(row: Any) -> ContentView:
    measures = None if row.measures is None else dict(row.measures)
    if row.phash is not None:
        measures = (measures or {}) | {"phash": unsigned(row.phash)}
    return ContentView(
        row.id, bytes(row.sha256).hex(), row.n_bytes, row.format, row.width_px, row.height_px,
        measures, Status(row.status), _reason(row), row.detail,
    )  # fmt: skip


def signed(bits: int) -> int:
    """Return the 64-bit two's complement of an unsigned hash: SQL has no unsigned integer.

    Example:
        >>> signed(2**64 - 1)
        -1
    """
    if not 0 <= bits < 2**64:
        raise InputError(f"a perceptual hash has 64 bits, unsigned; got {bits}")
    return bits - 2**64 if bits >= 2**63 else bits


def unsigned(bits: int) -> int:
    """Undo `signed`."""
    return bits % 2**64
