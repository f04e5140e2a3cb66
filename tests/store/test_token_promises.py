"""Tokens against any text and any moment; the contract suite runs the rest on both databases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import InputError
from listlens.store.open import Store, open_store
from listlens.store.tokens import MOST_A_MINUTE, MOST_DAYS, SCOPES, Token, hashed

NOW = datetime(2026, 11, 1, tzinfo=UTC)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
quick = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("tokens")
    with open_store("sqlite:///listlens.db", folder, clock=lambda: NOW) as store:
        yield store


@quick
@given(st.text())
def test_no_other_text_lets_anybody_in(store: Store, text: str) -> None:
    assert store.tokens.find(text) is None


@given(st.text(st.characters(codec="utf-8")), st.text())
def test_the_hash_is_that_of_the_text_and_takes_any_text(text: str, any_text: str) -> None:
    assert hashed(text) == hashlib.sha256(text.encode()).digest()
    assert len(hashed(any_text)) == 32 and (hashed(any_text) == hashed(text)) == (any_text == text)


@quick
@given(st.lists(st.sampled_from(list(SCOPES)), min_size=1), st.text(max_size=40))
def test_what_is_made_is_what_is_found_and_listed(
    store: Store, scopes: list[str], name: str
) -> None:
    text, made = store.tokens.create(scopes, name=name, days=2, per_minute=7)
    assert store.tokens.find(text) == made == store.tokens.list()[-1]
    assert list(made.scopes) == sorted(set(scopes), key=scopes.index)
    shown = json.loads(json.dumps(made.as_dict()))
    assert shown["expires_at"] == (NOW + timedelta(days=2)).isoformat()
    assert text not in json.dumps(shown) and shown["revoked_at"] is None


@given(moments, st.none() | moments, st.none() | moments)
def test_a_token_is_valid_from_no_moment_after_it_ended(
    now: datetime, expires: datetime | None, revoked: datetime | None
) -> None:
    made = Token(1, "", ("read",), None, NOW, expires, revoked)
    ended = expires is not None and expires <= now
    assert made.valid(now) == (revoked is None and not ended)
    assert not (made.valid(now + timedelta(seconds=1)) and not made.valid(now)), "it stays ended"


@pytest.mark.parametrize(
    ("days", "per_minute"),
    [(MOST_DAYS, MOST_A_MINUTE), (1e-6, 1)],
    ids=["most", "least"],
)
def test_the_bounds_themselves_are_allowed(store: Store, days: float, per_minute: int) -> None:
    text, made = store.tokens.create(["read"], days=days, per_minute=per_minute)
    assert made.expires_at == NOW + timedelta(days=days) and store.tokens.find(text) == made


@pytest.mark.parametrize(
    "how",
    [{"days": MOST_DAYS + 1}, {"days": float("inf")}, {"days": -1.0}, {"per_minute": -5},
     {"per_minute": MOST_A_MINUTE + 1}],
    ids=["days", "for-ever", "past", "negative", "calls"],
)  # fmt: skip
def test_beyond_the_bounds_nothing_is_made(store: Store, how: dict[str, float]) -> None:
    before = store.tokens.list()
    with pytest.raises(InputError, match=r"at most|allowed"):
        store.tokens.create(["read"], **how)  # type: ignore[arg-type]
    assert store.tokens.list() == before
