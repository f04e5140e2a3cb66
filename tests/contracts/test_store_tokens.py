"""Tokens on SQLite and PostgreSQL: found by text, scoped, expiring, revocable, only hashed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from listlens.core.errors import InputError, NotFoundError
from listlens.store.database import connect
from listlens.store.open import Store, open_store
from listlens.store.tokens import PREFIX, SCOPES, token


def test_a_token_is_found_by_its_text_alone(store: Store) -> None:
    text, made = store.tokens.create(["predict"], name="shop")
    assert text.startswith(PREFIX) and len(text) > 50
    assert store.tokens.find(text) == made
    assert store.tokens.find(text[:-1]) is None
    assert store.tokens.find("") is store.tokens.find("\ud800") is None
    assert store.tokens.list() == (made,)


def test_only_a_hash_is_kept(store_url: str, tmp_path: Path) -> None:
    with open_store(store_url, tmp_path) as store:
        text, _ = store.tokens.create(["predict", "read"])
    database = connect(store_url, tmp_path)
    with database.read() as connection:
        row = connection.execute(sa.select(token)).one()
    database.close()
    assert text not in repr(tuple(row)) and text.removeprefix(PREFIX) not in repr(tuple(row))
    assert len(row.hash) == 32


@pytest.mark.parametrize("scope", list(SCOPES))
def test_a_scope_allows_itself_and_admin_allows_all(store: Store, scope: str) -> None:
    _, made = store.tokens.create([scope, scope])
    allowed = {other for other in SCOPES if made.allows(other)}
    assert allowed == (set(SCOPES) if scope == "admin" else {scope})
    assert made.scopes == (scope,)


def test_a_revoked_token_lets_nobody_in(store: Store) -> None:
    text, made = store.tokens.create(["predict"])
    other, _ = store.tokens.create(["predict"])
    revoked = store.tokens.revoke(made.token_id)
    assert revoked.revoked_at is not None
    assert store.tokens.revoke(made.token_id) == revoked
    assert store.tokens.find(text) is None
    assert store.tokens.find(other) is not None
    with pytest.raises(NotFoundError, match="token list"):
        store.tokens.revoke(99)


def test_a_token_expires(new_database: Callable[[str], str], tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with open_store(new_database("sqlite"), tmp_path, clock=lambda: now) as store:
        text, made = store.tokens.create(["predict"], days=1.5)
        assert made.expires_at == now + timedelta(days=1.5)
        now += timedelta(days=1.4)
        assert store.tokens.find(text) == made
        now += timedelta(days=0.1)
        assert store.tokens.find(text) is None


@pytest.mark.parametrize(
    ("scopes", "how", "problem"),
    [
        (["predikt"], {}, "Did you mean 'predict'"),
        ([], {}, "Allowed: 'admin', 'predict', 'read', 'write'"),
        (["read"], {"days": 0}, "more than 0"),
        (["read"], {"days": float("nan")}, "more than 0"),
        (["read"], {"per_minute": 0}, "1 to"),
    ],
    ids=["unknown", "none", "no-days", "no-number", "none-a-minute"],
)
def test_a_token_that_cannot_be_is_refused(
    store: Store, scopes: list[str], how: dict[str, float], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        store.tokens.create(scopes, **how)  # type: ignore[arg-type]
    assert store.tokens.list() == ()


def test_a_name_that_no_database_keeps_is_kept_without_it(store: Store) -> None:
    _, made = store.tokens.create(["read"], name="a\0b", per_minute=60)
    assert (made.name, made.per_minute) == ("a?b", 60)
