"""Tombstones: what was deleted on request is recognised, and not brought in again.

Only a keyed hash is kept (HMAC-SHA256 with a key of this store), so a tombstone names nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from listlens.store.database import Database, chunks
from listlens.store.schema import meta, tombstone

Grave = Literal["photo", "listing", "seller", "annotator", "content"]

FILE = "file:"
"""What the names of annotators begin with that are label files, not people."""
_ROW_GRAVES: tuple[Grave, ...] = ("photo", "listing", "seller")


class Tombstones:
    """Which photos, listings, sellers, annotators and bytes were forgotten."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._key: bytes | None = None

    def among(
        self, keys: Sequence[tuple[str, str]], sellers: Sequence[str | None] = ()
    ) -> set[tuple[str, str]]:
        """Return the (listing, photo) keys whose photo, listing or seller was forgotten."""
        if not keys:
            return set()
        if sellers and len(sellers) != len(keys):
            raise ValueError(f"{len(sellers)} sellers for {len(keys)} photos; give one for each")
        with self._db.read() as connection:
            if not _any(connection, _ROW_GRAVES):
                return set()
            secret = self._secret(connection)
            owners: dict[tuple[str, str], set[bytes]] = {}
            for i, key in enumerate(keys):  # rows that differ about the seller count together
                found = _hashes(secret, key, sellers[i] if sellers else None)
                owners[key] = owners.get(key, set()) | found
            hashes = {value for found in owners.values() for value in found}
            dead = _dead(connection, _ROW_GRAVES, hashes)
        return {key for key, hashes in owners.items() if dead & hashes}

    def among_contents(self, sha256s: Iterable[str]) -> set[str]:
        """Return those sha256 (hex) whose bytes were forgotten, whatever they are called now."""
        with self._db.read() as connection:
            if not _any(connection, ("content",)):
                return set()
            secret = self._secret(connection)
            owners = {keyed_hash(secret, "content", sha): sha for sha in sha256s}
            return {owners[value] for value in _dead(connection, ("content",), set(owners))}

    def mark(self, connection: Connection, kind: Grave, parts: Iterable[tuple[str, ...]]) -> None:
        """Put tombstones, in the caller's transaction."""
        secret = self._secret(connection)
        now = self._db.clock()
        rows = [
            {"kind": kind, "keyed_hash": keyed_hash(secret, kind, *part), "created_at": now}
            for part in parts
        ]
        if rows:
            connection.execute(self._db.insert(tombstone).on_conflict_do_nothing(), rows)

    def pseudonym(self, connection: Connection, name: str) -> str:
        """Return what a forgotten annotator is called from then on; the same name, the same."""
        kind = FILE if name.startswith(FILE) else ""
        secret = self._secret(connection)
        return f"{kind}annotator-{keyed_hash(secret, 'annotator', name).hex()[:12]}"

    def has_annotator(self, connection: Connection, name: str) -> bool:
        """Whether this annotator was forgotten."""
        wanted = {keyed_hash(self._secret(connection), "annotator", name)}
        return bool(_dead(connection, ("annotator",), wanted))

    def _secret(self, connection: Connection) -> bytes:
        if self._key is None:
            query = sa.select(meta.c.value).where(meta.c.key == "tombstone_key")
            self._key = bytes.fromhex(connection.execute(query).scalar_one())
        return self._key


def is_pseudonym(name: str) -> bool:
    """Whether an annotator's name is what `Tombstones.pseudonym` makes."""
    return re.fullmatch(rf"({FILE})?annotator-[0-9a-f]{{12}}", name) is not None


def create_key(database: Database) -> None:
    """Give a new store its secret; a store that has one keeps it."""
    query = sa.select(meta.c.value).where(meta.c.key == "tombstone_key")
    with database.read() as connection:
        if connection.execute(query).first() is not None:
            return
    row: dict[str, Any] = {"key": "tombstone_key", "value": secrets.token_hex(32)}
    with database.write() as connection:
        connection.execute(database.insert(meta).values(row).on_conflict_do_nothing())


def keyed_hash(secret: bytes, kind: Grave, *parts: str) -> bytes:
    """Return 32 bytes for a thing; each part is prefixed by its length, so none can imitate two."""
    message = b"".join(
        len(data).to_bytes(8, "big") + data for data in (p.encode() for p in (kind, *parts))
    )
    return hmac.new(secret, message, hashlib.sha256).digest()


def _hashes(secret: bytes, key: tuple[str, str], seller: str | None) -> set[bytes]:
    found = {keyed_hash(secret, "photo", *key), keyed_hash(secret, "listing", key[0])}
    return found if seller is None else found | {keyed_hash(secret, "seller", seller)}


def _any(connection: Connection, kinds: Sequence[Grave]) -> bool:
    query = sa.select(tombstone.c.kind).where(tombstone.c.kind.in_(kinds)).limit(1)
    return connection.execute(query).first() is not None


def _dead(connection: Connection, kinds: Sequence[Grave], hashes: set[bytes]) -> set[bytes]:
    """Return the hashes with a tombstone; the kind leads the key, so it is named for the index."""
    query = sa.select(tombstone.c.keyed_hash).where(tombstone.c.kind.in_(kinds))
    return {
        bytes(value)
        for block in chunks(hashes)
        for value in connection.execute(query.where(tombstone.c.keyed_hash.in_(block))).scalars()
    }
