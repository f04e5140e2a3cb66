"""Embeddings in float16 shards beside the database; SQL maps (space, content) to (shard, row)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy import Connection

from listlens.core.errors import NotFoundError, StoreError
from listlens.core.types import EmbeddingSpace
from listlens.store.database import Database, chunks
from listlens.store.memory_vectors import BLOCK, checked_vectors, require_present
from listlens.store.schema import content, pending_deletion, shard, space, vector
from listlens.store.shards import REPAIR, old_files, read_shard, remove_file, write_shard
from listlens.store.spaces import save_space, space_pk

TARGET_BYTES = 16 * 2**20
"""Size of a compacted shard: 6,500 embeddings of 1,280 numbers. Rewriting one, to merge or to
forget a photo, holds it in memory twice and takes a fraction of a second; 300,000 photos are 46
files."""

GRACE_S = 3600.0
"""An unknown file younger than this may belong to a writer that has not committed its row."""


class _Shard(NamedTuple):
    id: int
    file: str
    n_rows: int
    dim: int


class FileVectors:
    """The port `core.ports.Vectors` over files.

    A shard is never changed once it has its name: deleting and compacting write a new one, switch
    the rows over in one transaction, and only then remove the old file. Readers that looked up
    the old one just before look again.

    Args:
        database: holds the map.
        folder: where the shards lie.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._db = database
        self.folder = folder

    def put(
        self, space: EmbeddingSpace, content_ids: Sequence[int], vectors: NDArray[np.float16]
    ) -> None:
        """Store `(n, dim)`; on disk before it returns. A content that has one keeps it.

        Raises:
            InputError: wrong shape or type.
            NotFoundError: contents that the store does not have (any more).
        """
        ids, array = checked_vectors(space, content_ids, vectors)
        new = set(self.missing(space, ids))
        keep = [i for i, pk in enumerate(ids) if pk in new]
        if not keep:
            return
        new_ids = [ids[i] for i in keep]
        path = write_shard(self._space_folder(space), array[keep])
        try:
            with self._db.write() as connection:
                _require_contents(connection, new_ids)
                space_id = save_space(self._db, connection, space)
                shard_id = self._add_shard(connection, space_id, path, len(new_ids))
                rows = [
                    {"space_id": space_id, "content_id": pk, "shard_id": shard_id, "row": row}
                    for row, pk in enumerate(new_ids)
                ]
                connection.execute(self._db.insert(vector).on_conflict_do_nothing(), rows)
        except NotFoundError:
            remove_file(path)
            raise

    def get(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> NDArray[np.float16]:
        """Return `(n, dim)` in the order asked. Raises NotFoundError naming what is absent."""
        ids = [int(pk) for pk in content_ids]
        for last_try in (False, False, True):
            try:
                return self._gather(space, ids)
            except FileNotFoundError as error:  # replaced between the look-up and the reading
                if last_try:
                    raise StoreError(f"{error.filename} is lost. {REPAIR}") from error
        raise AssertionError("unreachable")

    def scan(
        self, space: EmbeddingSpace
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Yield all in blocks, ids `(n,)` and vectors `(n, dim)`, by content id; memory is flat."""
        last = 0
        while True:
            with self._db.read() as connection:
                query = (
                    sa.select(vector.c.content_id)
                    .where(vector.c.space_id == (space_pk(connection, space) or 0))
                    .where(vector.c.content_id > last)
                    .order_by(vector.c.content_id)
                    .limit(BLOCK)
                )
                ids = list(connection.execute(query).scalars())
            if not ids:
                return
            last = ids[-1]
            try:
                block = self.get(space, ids)
            except NotFoundError:  # some were forgotten meanwhile
                absent = set(self.missing(space, ids))
                ids = [pk for pk in ids if pk not in absent]
                block = self.get(space, ids)
            yield np.array(ids, np.int64), block

    def missing(self, space: EmbeddingSpace, content_ids: Sequence[int]) -> list[int]:
        """Return those of `content_ids` without an embedding in this space, in order."""
        with self._db.read() as connection:
            space_id = space_pk(connection, space) or 0
            there = set[int]()
            query = sa.select(vector.c.content_id).where(vector.c.space_id == space_id)
            for block in chunks(dict.fromkeys(int(pk) for pk in content_ids)):
                there.update(
                    connection.execute(query.where(vector.c.content_id.in_(block))).scalars()
                )
        return [int(pk) for pk in content_ids if int(pk) not in there]

    def delete(self, content_ids: Sequence[int]) -> int:
        """Remove these contents' embeddings from every space, bytes included; return how many."""
        with self._db.write() as connection:
            removed = self.unmap(connection, content_ids)
        self.finish()
        return removed

    def drop(self, space: EmbeddingSpace) -> int:
        """Remove all embeddings of one space, bytes included; return how many."""
        with self._db.write() as connection:
            which = vector.c.space_id == (space_pk(connection, space) or 0)
            shards = sa.select(vector.c.shard_id).where(which).distinct()
            self._note(connection, "shard", list(map(str, connection.execute(shards).scalars())))
            removed = connection.execute(sa.delete(vector).where(which)).rowcount
        self.finish()
        return int(removed)

    def unmap(self, connection: Connection, content_ids: Iterable[int]) -> int:
        """Delete the rows, in the caller's transaction, and note which shards `finish` rewrites."""
        removed = 0
        dirty: set[int] = set()
        for block in chunks(int(pk) for pk in content_ids):
            which = vector.c.content_id.in_(block)
            dirty.update(connection.execute(sa.select(vector.c.shard_id).where(which)).scalars())
            removed += connection.execute(sa.delete(vector).where(which)).rowcount
        self._note(connection, "shard", [str(pk) for pk in sorted(dirty)])
        return removed

    def finish(self) -> None:
        """Rewrite noted shards without their deleted rows, and remove noted files."""
        for shard_id in {int(name) for name in self._noted("shard")}:
            try:
                while not self._rewrite([shard_id]):
                    pass
            except StoreError:  # damaged: what it holds is embedded again, and forgetting goes on
                self._drop(shard_id)
            self._done("shard", str(shard_id))
        self._remove_noted_files()

    def compact(self, grace_s: float = GRACE_S) -> int:
        """Merge small shards, drop orphans and deleted rows; return bytes freed.

        Args:
            grace_s: unknown files younger than this stay, in seconds: their writer may be about
                to commit.
        """
        self.finish()
        freed = sum(self._merge(group) for group in self._groups())
        before = self._db.clock().timestamp() - grace_s
        candidates = list(old_files(self.folder, before))
        with self._db.read() as connection:
            known = set(connection.execute(sa.select(shard.c.file)).scalars())
        orphans = [path for path in candidates if self._name(path) not in known]
        return freed + sum(remove_file(path) for path in orphans)

    def n_small(self) -> int:
        """Return how many shards `compact` would merge for being small; cheap."""
        return sum(item.n_rows * item.dim * 2 <= TARGET_BYTES // 2 for item in self._shards())

    def drop_damaged(self) -> int:
        """Forget embeddings whose shard is lost or damaged, so that they are computed again.

        Returns:
            How many embeddings were dropped; 0 where all shards are sound.
        """
        dropped = 0
        for item in self._shards():
            try:
                read_shard(self.folder / item.file, item.n_rows, item.dim)
            except (FileNotFoundError, StoreError):
                dropped += self._drop(item.id)
        self._remove_noted_files()
        return dropped

    def _drop(self, shard_id: int) -> int:
        """Forget a shard and all its rows; its file is noted for removal."""
        with self._db.write() as connection:
            rows = sa.delete(vector).where(vector.c.shard_id == shard_id)
            dropped = connection.execute(rows).rowcount
            found = sa.delete(shard).where(shard.c.id == shard_id).returning(shard.c.file)
            self._note(connection, "file", list(connection.execute(found).scalars()))
        return dropped

    def _space_folder(self, space: EmbeddingSpace) -> Path:
        return self.folder / re.sub(r"[^A-Za-z0-9._-]", "_", space.id)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _add_shard(self, connection: Connection, space_id: int, path: Path, n_rows: int) -> int:
        row = {
            "space_id": space_id,
            "file": self._name(path),
            "n_rows": n_rows,
            "created_at": self._db.clock(),
        }
        return int(
            connection.execute(sa.insert(shard).values(row).returning(shard.c.id)).scalar_one()
        )

    def _gather(self, wanted: EmbeddingSpace, ids: Sequence[int]) -> NDArray[np.float16]:
        """Look up and read; FileNotFoundError where a shard vanished in between."""
        found: dict[int, tuple[str, int, int]] = {}
        query = sa.select(vector.c.content_id, vector.c.row, shard.c.file, shard.c.n_rows).join(
            shard, vector.c.shard_id == shard.c.id
        )
        with self._db.read() as connection:
            query = query.where(vector.c.space_id == (space_pk(connection, wanted) or 0))
            for block in chunks(dict.fromkeys(ids)):
                for pk, row, file, n in connection.execute(
                    query.where(vector.c.content_id.in_(block))
                ):
                    found[pk] = (file, n, row)
        require_present(wanted, ids, found)
        places: dict[tuple[str, int], tuple[list[int], list[int]]] = {}
        for at, pk in enumerate(ids):
            file, n_rows, row = found[pk]
            to, take = places.setdefault((file, n_rows), ([], []))
            to.append(at)
            take.append(row)
        result = np.empty((len(ids), wanted.dim), np.float16)
        for (file, n_rows), (to, take) in places.items():
            result[to] = read_shard(self.folder / file, n_rows, wanted.dim)[take]
        return result

    def _shards(self) -> list[_Shard]:
        query = sa.select(shard.c.id, shard.c.file, shard.c.n_rows, space.c.dim).join(
            space, shard.c.space_id == space.c.id
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(shard.c.space_id, shard.c.id))
            return [_Shard(*row) for row in rows]

    def _groups(self) -> Iterator[list[int]]:
        """Yield shards to merge: of one space, small or with dead rows, up to the target size."""
        number = sa.func.count(vector.c.content_id)
        query = (
            sa.select(shard.c.id, shard.c.space_id, shard.c.n_rows, space.c.dim, number)
            .join(space, shard.c.space_id == space.c.id)
            .outerjoin(vector, vector.c.shard_id == shard.c.id)
            .group_by(shard.c.id, shard.c.space_id, shard.c.n_rows, space.c.dim)
            .order_by(shard.c.space_id, shard.c.id)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        group: list[int] = []
        of, size, dead = 0, 0, False
        for pk, space_id, n_rows, dim, n_live in rows:
            n_bytes = n_live * dim * 2
            if n_live == n_rows and n_bytes > TARGET_BYTES // 2:
                continue
            if group and (space_id != of or size + n_bytes > TARGET_BYTES):
                if len(group) > 1 or dead:
                    yield group
                group, size, dead = [], 0, False
            group.append(pk)
            of, size, dead = space_id, size + n_bytes, dead or n_live < n_rows
        if len(group) > 1 or dead:
            yield group

    def _merge(self, shard_ids: list[int]) -> int:
        """Rewrite shards as one; return the bytes freed, 0 where another process was faster."""
        before = self._n_bytes()
        if not self._rewrite(shard_ids):
            return 0
        self._remove_noted_files()
        return max(0, before - self._n_bytes())

    def _n_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*/*.npy"))

    def _rewrite(self, shard_ids: Sequence[int]) -> bool:
        """Write the live rows of these shards of one space to a new one and switch over.

        Returns:
            False where the rows changed meanwhile: nothing was done.
        """
        wanted = [item for item in self._shards() if item.id in set(shard_ids)]
        live = self._live_rows(wanted)
        path: Path | None = None
        if live:
            maps = self._maps(wanted)
            if maps is None:
                return False
            rows = np.stack([maps[shard_id][row] for _, shard_id, row in live])
            path = write_shard((self.folder / wanted[0].file).parent, rows)
        ids = [item.id for item in wanted]
        with self._db.write() as connection:
            locked = sa.select(shard.c.id, shard.c.space_id).where(shard.c.id.in_(ids))
            there = connection.execute(locked.with_for_update()).all()
            unchanged = len(there) == len(ids) and self._live_rows(wanted, connection) == live
            if unchanged:
                if path is not None:
                    new = self._add_shard(connection, there[0].space_id, path, len(live))
                    self._repoint(connection, there[0].space_id, new, live)
                connection.execute(sa.delete(shard).where(shard.c.id.in_(ids)))
                self._note(connection, "file", [item.file for item in wanted])
        if not unchanged and path is not None:
            remove_file(path)
        return unchanged

    def _maps(self, wanted: Sequence[_Shard]) -> dict[int, NDArray[np.float16]] | None:
        """Map shards by id; None where another process replaced one of them meanwhile."""
        try:
            return {i.id: read_shard(self.folder / i.file, i.n_rows, i.dim) for i in wanted}
        except FileNotFoundError as error:
            if set(wanted) <= set(self._shards()):
                raise StoreError(f"{error.filename} is lost. {REPAIR}") from error
            return None

    def _live_rows(
        self, wanted: Sequence[_Shard], connection: Connection | None = None
    ) -> list[tuple[int, int, int]]:
        """Return (content_id, shard_id, row) by content id."""
        if connection is None:
            with self._db.read() as reading:
                return self._live_rows(wanted, reading)
        query = sa.select(vector.c.content_id, vector.c.shard_id, vector.c.row)
        found = [
            (int(pk), int(shard_id), int(row))
            for block in chunks(item.id for item in wanted)
            for pk, shard_id, row in connection.execute(query.where(vector.c.shard_id.in_(block)))
        ]
        return sorted(found)

    def _repoint(
        self, connection: Connection, space_id: int, new: int, live: Sequence[tuple[int, int, int]]
    ) -> None:
        update = (
            sa.update(vector)
            .where(vector.c.space_id == space_id, vector.c.content_id == sa.bindparam("pk"))
            .values(shard_id=new, row=sa.bindparam("at"))
        )
        connection.execute(update, [{"pk": pk, "at": at} for at, (pk, _, _) in enumerate(live)])

    def _note(self, connection: Connection, kind: str, names: Sequence[str]) -> None:
        now = self._db.clock()
        rows = [{"kind": kind, "name": name, "created_at": now} for name in names]
        if rows:
            connection.execute(sa.insert(pending_deletion), rows)

    def _noted(self, kind: str) -> list[str]:
        query = sa.select(pending_deletion.c.name).where(pending_deletion.c.kind == kind)
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def _done(self, kind: str, name: str) -> None:
        which = sa.and_(pending_deletion.c.kind == kind, pending_deletion.c.name == name)
        with self._db.write() as connection:
            connection.execute(sa.delete(pending_deletion).where(which))

    def _remove_noted_files(self) -> None:
        for name in self._noted("file"):
            remove_file(self.folder / name)
            self._done("file", name)


def _require_contents(connection: Connection, ids: Sequence[int]) -> None:
    there: set[int] = set()
    for block in chunks(ids):
        query = sa.select(content.c.id).where(content.c.id.in_(block))
        there.update(connection.execute(query).scalars())
    absent = [pk for pk in ids if pk not in there]
    if absent:
        raise NotFoundError(f"no such contents (forgotten meanwhile?): {absent[:10]}")
