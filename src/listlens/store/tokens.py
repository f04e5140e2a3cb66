"""Tokens: long random texts that let a caller in, of which only a hash is kept.

A token is 256 random bits, so a plain sha256 of it cannot be guessed back; a slow password hash
would only make every call slow.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Integer, LargeBinary, Table, Text

from listlens.core.errors import InputError, NotFoundError, suggest
from listlens.store.columns import id_column, moment
from listlens.store.database import Database, clean_text
from listlens.store.schema import metadata

SCOPES = {
    "predict": "ask for predictions, and which models there are",
    "read": "read what is stored: listings, tags, counts, metrics",
    "write": "bring listings, photos and labels in, and delete them",
    "admin": "everything: tokens, models, webhooks, replays; includes the others",
}
"""What a token may be allowed to do."""

PREFIX = "listlens_"
"""What every token begins with, so that people and scanners of code recognise one that leaked."""

MOST_DAYS = 36_500
MOST_A_MINUTE = 1_000_000

token = Table(
    "token",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("per_minute", Integer),
    moment("created_at"),
    moment("expires_at", nullable=True),
    moment("revoked_at", nullable=True),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; not the token itself.

    Args:
        token_id: its number, by which it is revoked.
        name: what it is for, in the words of whoever made it.
        scopes: what it allows, of SCOPES.
        per_minute: calls a minute, None for any number.
        created_at: when it was made.
        expires_at: from when on it is refused; None for never.
        revoked_at: when it was taken back; None for not.
    """

    token_id: int
    name: str
    scopes: tuple[str, ...]
    per_minute: int | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def allows(self, scope: str) -> bool:
        """Whether it may be used for this."""
        return scope in self.scopes or "admin" in self.scopes

    def valid(self, now: datetime) -> bool:
        """Whether it lets anybody in now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, as `listlens token list --json` prints it."""
        times = {
            name: None if (value := getattr(self, name)) is None else value.isoformat()
            for name in ("created_at", "expires_at", "revoked_at")
        }
        return {
            "id": self.token_id,
            "name": self.name,
            "scopes": list(self.scopes),
            "per_minute": self.per_minute,
            **times,
        }


class Tokens:
    """The tokens of a project."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(
        self,
        scopes: Iterable[str],
        *,
        name: str = "",
        days: float | None = None,
        per_minute: int | None = None,
    ) -> tuple[str, Token]:
        """Make a token.

        Args:
            scopes: of SCOPES, at least one.
            name: what it is for.
            days: until it expires; None for never.
            per_minute: calls a minute; None for any number.

        Returns:
            The token, which is shown this once and kept nowhere, and what is known of it.

        Raises:
            InputError: an unknown scope or none, or a number out of bounds.
        """
        wanted = tuple(dict.fromkeys(scopes))
        unknown = next((scope for scope in wanted if scope not in SCOPES), None)
        if unknown is not None or not wanted:
            raise InputError(f"no scope {unknown or ''!r}. {suggest(unknown or '', SCOPES)}")
        if days is not None and not 0 < days <= MOST_DAYS:
            raise InputError(f"{days} days; a token lasts more than 0 and at most {MOST_DAYS}")
        if per_minute is not None and not 1 <= per_minute <= MOST_A_MINUTE:
            raise InputError(f"{per_minute} calls a minute; allowed: 1 to {MOST_A_MINUTE}")
        text = PREFIX + secrets.token_urlsafe(32)
        now = self._db.clock()
        row = {
            "name": clean_text(name),
            "hash": hashed(text),
            "scopes": " ".join(wanted),
            "per_minute": per_minute,
            "created_at": now,
            "expires_at": None if days is None else now + timedelta(days=days),
        }
        with self._db.write() as connection:
            made = connection.execute(sa.insert(token).values(row).returning(token)).one()
        return text, _view(made)

    def find(self, text: str) -> Token | None:
        """Return the token that lets in now with this text; None where there is none."""
        query = sa.select(token).where(token.c.hash == hashed(text))
        with self._db.read() as connection:
            row = connection.execute(query).first()
        found = None if row is None else _view(row)
        return found if found is not None and found.valid(self._db.clock()) else None

    def list(self) -> tuple[Token, ...]:
        """Return all tokens, those no longer valid too, oldest first."""
        with self._db.read() as connection:
            rows = connection.execute(sa.select(token).order_by(token.c.id)).all()
        return tuple(_view(row) for row in rows)

    def revoke(self, token_id: int) -> Token:
        """Take a token back; doing it twice changes nothing.

        Raises:
            NotFoundError: no such token.
        """
        now = self._db.clock()
        with self._db.write() as connection:
            here = token.c.id == token_id
            once = sa.update(token).where(here, token.c.revoked_at.is_(None))
            connection.execute(once.values(revoked_at=now))
            row = connection.execute(sa.select(token).where(here)).first()
        if row is None:
            raise NotFoundError(f"no token {token_id}; `listlens token list` shows them")
        return _view(row)


def hashed(text: str) -> bytes:
    """Return the 32 bytes that are kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _view(row: Any) -> Token:
    return Token(
        token_id=row.id,
        name=row.name,
        scopes=tuple(row.scopes.split()),
        per_minute=row.per_minute,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
