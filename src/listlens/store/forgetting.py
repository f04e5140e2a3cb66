"""Forgetting: everything about a photo, listing, seller or annotator goes, and stays away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import Database, chunks
from listlens.store.erasing import (
    What,
    contents_of,
    delete_about_listings,
    delete_where,
    forget_events,
    forget_rejected,
    listings_named,
    photos_named,
    photos_of_source,
    unused_contents,
)
from listlens.store.schema import (
    annotation,
    annotator,
    content,
    former_content,
    listing,
    pending_deletion,
    photo,
    prediction,
    reading,
)
from listlens.store.thumbnails import Thumbnails
from listlens.store.tombstones import Tombstones
from listlens.store.vectors import FileVectors


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What forgetting removes (as a plan) or removed (when executed).

    Args:
        what: the kind of thing.
        name: its external id.
        in_listing: for a photo, the listing it was narrowed to.
        listings: external ids of the listings that go.
        photos: (listing_id, photo_id) of the photos that go.
        contents: ids of the contents that go: no other photo shows them.
        n_shared: contents that stay because another photo shows them.
        n_vectors: embeddings, over all spaces.
        n_predictions: over all models.
        n_annotations: that go; of an annotator: that stay, under the pseudonym.
        n_thumbnails: files.
        n_texts: contents whose text had been read.
    """

    what: What
    name: str
    in_listing: str | None
    listings: tuple[str, ...]
    photos: tuple[tuple[str, str], ...]
    contents: tuple[int, ...]
    n_shared: int
    n_vectors: int
    n_predictions: int
    n_annotations: int
    n_thumbnails: int
    n_texts: int


class _DryRun(Exception):
    """Undoes the transaction of a plan."""


class Forgetting:
    """Deletes on request.

    A plan is an execution whose transaction is undone, so the two cannot differ. Executing commits
    the rows with a note of the files to remove; then removes the files. A kill in between is
    finished by `resume` at the next opening. On SQLite deleted rows are overwritten and the log is
    emptied; on PostgreSQL the tables are vacuumed. Backups are the operator's.
    """

    def __init__(self, database: Database, vectors: FileVectors, thumbnails: Thumbnails) -> None:
        self._db = database
        self._vectors = vectors
        self._thumbnails = thumbnails
        self._tombstones = Tombstones(database)

    def plan(
        self,
        *,
        listing: str | None = None,
        photo: str | None = None,
        seller: str | None = None,
        annotator: str | None = None,
    ) -> ForgetPlan:
        """Say what would be removed; nothing changes.

        Args:
            listing: external id. Together with `photo` it narrows that to one listing.
            photo: photo id, in whichever listings it occurs.
            seller: external id.
            annotator: name.

        Returns:
            The plan, for `execute`.

        Raises:
            InputError: not exactly one thing was named.
            NotFoundError: it is not in the store.
        """
        what, name = _one_thing(listing, photo, seller, annotator)
        plan: ForgetPlan | None = None
        try:
            with self._db.write() as connection:
                plan = self._erase(connection, what, name, listing if what == "photo" else None)
                raise _DryRun
        except _DryRun:
            assert plan is not None
            return plan

    def execute(self, plan: ForgetPlan) -> ForgetPlan:
        """Remove it all, as it stands now; return what was removed.

        Raises:
            NotFoundError: it went meanwhile.
        """
        with self._db.write() as connection:
            done = self._erase(connection, plan.what, plan.name, plan.in_listing)
            self._note(connection, "log", [""])
        self.resume()
        return done

    def resume(self) -> None:
        """Finish what a killed process left; one query where there is nothing."""
        with self._db.read() as connection:
            noted = connection.execute(sa.select(pending_deletion)).all()
        if not noted:
            return
        self._delete_thumbnails([row for row in noted if row.kind == "thumbnail"])
        self._vectors.finish()
        log = [row.id for row in noted if row.kind == "log"]
        if log and self._db.drop_traces():
            self._done(log)

    def _delete_thumbnails(self, noted: Sequence[Any]) -> None:
        """Remove noted files, save those whose content has come in again meanwhile."""
        for block in chunks(noted):
            there = sa.select(content.c.sha256).where(
                content.c.sha256.in_([bytes.fromhex(row.name) for row in block])
            )
            with self._db.read() as connection:
                known = {bytes(sha).hex() for sha in connection.execute(there).scalars()}
            for row in block:
                if row.name not in known:
                    self._thumbnails.delete(row.name)
            self._done([row.id for row in block])

    def remove(self, source_id: int, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Delete photos that their shop deleted, with the contents that no other photo shows.

        No tombstone is put: the shop may add the same photo again. Takes part in the caller's
        transaction (`Database.together`); the files go with the next `resume`.

        Args:
            source_id: whose photos they are.
            keys: (listing_id, photo_id).

        Returns:
            The keys whose photo was there.
        """
        with self._db.together() as connection:
            found = photos_of_source(connection, source_id, keys)
            photo_pks = list(found.values())
            delete_where(connection, annotation, annotation.c.photo_id, photo_pks)
            _, orphans = self._erase_photos(connection, photo_pks)
            self._erase_contents(connection, orphans, bury=False)
        return set(found)

    def _erase_photos(
        self, connection: Connection, photo_pks: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Delete photos; return the contents that they showed, and those nobody shows now."""
        candidates = contents_of(connection, photo_pks)
        delete_where(connection, former_content, former_content.c.photo_id, photo_pks)
        delete_where(connection, photo, photo.c.id, photo_pks)
        return candidates, unused_contents(connection, candidates)

    def _erase(
        self, connection: Connection, what: What, name: str, in_listing: str | None
    ) -> ForgetPlan:
        if what == "annotator":
            return self._rename_annotator(connection, name)
        listings = listings_named(connection, what, name)
        photos = photos_named(connection, what, name, in_listing, listings)
        if not photos and not listings:
            raise NotFoundError(
                f"no {what} {name!r} in the store. What was forgotten before is not found again."
            )
        photo_pks = [pk for pk, _, _ in photos]
        n_annotations = delete_where(connection, annotation, annotation.c.photo_id, photo_pks)
        n_annotations += delete_about_listings(connection, list(listings))
        candidates, orphans = self._erase_photos(connection, photo_pks)
        delete_where(connection, listing, listing.c.id, list(listings))
        keys = tuple((owner, key) for _, owner, key in photos)
        forget_events(self._db, connection, list(listings.values()), keys)
        self._bury(connection, what, name, tuple(listings.values()), keys)
        forget_rejected(connection, name, listings.values(), keys)
        counts = self._erase_contents(connection, orphans, bury=True)
        return ForgetPlan(
            what=what,
            name=name,
            in_listing=in_listing,
            listings=tuple(sorted(listings.values())),
            photos=tuple(sorted(keys)),
            contents=tuple(orphans),
            n_shared=len(candidates) - len(orphans),
            n_annotations=n_annotations + counts.pop("n_annotations"),
            **counts,
        )

    def _erase_contents(
        self, connection: Connection, pks: Sequence[int], *, bury: bool
    ) -> dict[str, int]:
        """Delete contents with all that hangs on them; note the files, and bar the bytes."""
        shas = [
            bytes(sha).hex()
            for block in chunks(pks)
            for sha in connection.execute(
                sa.select(content.c.sha256).where(content.c.id.in_(block))
            ).scalars()
        ]
        thumbnails = [sha for sha in shas if self._thumbnails.path(sha).exists()]
        self._note(connection, "thumbnail", shas)
        if bury:
            self._tombstones.mark(connection, "content", [(sha,) for sha in shas])
        about = annotation.c.subject_kind != "listing"
        counts = {
            "n_vectors": self._vectors.unmap(connection, pks),
            "n_texts": delete_where(connection, reading, reading.c.content_id, pks),
            "n_predictions": delete_where(connection, prediction, prediction.c.content_id, pks),
            "n_annotations": delete_where(
                connection, annotation, annotation.c.subject_id, pks, about
            )
            + delete_where(connection, annotation, annotation.c.other_subject_id, pks, about),
            "n_thumbnails": len(thumbnails),
        }
        delete_where(connection, content, content.c.id, pks)
        return counts

    def _bury(
        self,
        connection: Connection,
        what: What,
        name: str,
        listings: Sequence[str],
        photos: Sequence[tuple[str, str]],
    ) -> None:
        """Put tombstones: a listing's stands for all its photos, present and to come."""
        self._tombstones.mark(connection, "listing", [(key,) for key in listings])
        if what == "photo":
            self._tombstones.mark(connection, "photo", photos)
        if what == "seller":
            self._tombstones.mark(connection, "seller", [(name,)])

    def _rename_annotator(self, connection: Connection, name: str) -> ForgetPlan:
        found = connection.execute(sa.select(annotator).where(annotator.c.name == name)).first()
        if found is None:
            raise NotFoundError(f"no annotator {name!r} in the store")
        pseudonym = self._tombstones.pseudonym(connection, name)
        update = sa.update(annotator).where(annotator.c.id == found.id).values(name=pseudonym)
        connection.execute(update)
        # `anna.csv:12` names a person as well; a row number alone says nothing.
        mine = sa.update(annotation).where(annotation.c.annotator_id == found.id)
        connection.execute(mine.values(at=""))
        self._tombstones.mark(connection, "annotator", [(name,)])
        query = sa.select(sa.func.count()).where(annotation.c.annotator_id == found.id)
        n = connection.execute(query).scalar_one()
        return ForgetPlan("annotator", name, None, (), (), (), 0, 0, 0, n, 0, 0)

    def _note(self, connection: Connection, kind: str, names: Sequence[str]) -> None:
        now = self._db.clock()
        rows = [{"kind": kind, "name": name, "created_at": now} for name in names]
        if rows:
            connection.execute(sa.insert(pending_deletion), rows)

    def _done(self, noted: Sequence[int]) -> None:
        with self._db.write() as connection:
            delete_where(connection, pending_deletion, pending_deletion.c.id, noted)


def _one_thing(
    listing: str | None, photo: str | None, seller: str | None, annotator: str | None
) -> tuple[What, str]:
    given: list[tuple[What, str]] = []
    if photo is not None:
        given.append(("photo", photo))
    elif listing is not None:
        given.append(("listing", listing))
    if seller is not None:
        given.append(("seller", seller))
    if annotator is not None:
        given.append(("annotator", annotator))
    if len(given) != 1:
        raise InputError("name exactly one of listing, photo (with or without listing), seller, "
                         f"annotator to forget; got {len(given)}")  # fmt: skip
    return given[0]
