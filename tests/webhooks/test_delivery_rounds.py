"""Rounds of deliveries as rules: blocks, waits, what a round begins, and kinds that exist."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listlens.core.errors import InputError
from listlens.store.event_rows import Announcement
from listlens.store.open import Store, open_store
from listlens.stream.announcing import ANNOUNCED
from listlens.stream.webhooks import (
    AT_ONCE,
    MOST_WRONG,
    PAGE,
    SCHEDULE_S,
    Delivery,
    Sent,
    _blocks,
    _Todo,
    check_kinds,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Endpoint:
    """A `Post` that answers as it is told and keeps what it got."""

    def __init__(self, *answers: Sent) -> None:
        self.answers, self.got = list(answers), list[str]()
        self._lock = threading.Lock()

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        with self._lock:
            self.got.append(json.loads(body)["data"]["n"])
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Hands:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def store(tmp_path: Path, hands: Hands) -> Iterator[Store]:
    with open_store("sqlite:///listlens.db", tmp_path, clock=hands) as opened:
        opened.webhooks.add("https://shop.example/hooks")
        yield opened


def announce(store: Store, n: int, listing: str = "") -> None:
    store.outbox.append([
        Announcement(f"k{i}", "photo.failed", listing or f"L{i}", "p", {"n": f"k{i}"})
        for i in range(n)
    ])  # fmt: skip


def todo(position: int, listing: str | None) -> _Todo:
    one = None if listing is None else Announcement("k", "photo.failed", listing, "p", {})
    return _Todo(position, one)


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_listings_events_are_never_on_their_way_together(listings: list[str | None]) -> None:
    several = [todo(n, listing) for n, listing in enumerate(listings)]
    blocks = list(_blocks(several))
    assert [one for block in blocks for one in block] == several, "in order, each once"
    for block, after in zip(blocks, [*blocks[1:], []], strict=False):
        there = [one.event.listing_id if one.event else "" for one in block]
        assert 1 <= len(block) <= AT_ONCE and len(set(there)) == len(there)
        if after and len(block) < AT_ONCE:
            assert (after[0].event.listing_id if after[0].event else "") in there, (
                "or it waits idly"
            )


def test_a_round_takes_a_page_and_the_next_goes_on(store: Store) -> None:
    announce(store, PAGE + 3)
    endpoint = Endpoint(Sent(204))
    delivery = Delivery(store, endpoint)
    rounds = [delivery.round(store.webhooks.get(1)) for _ in range(3)]
    assert rounds == [PAGE, 3, 0]
    assert sorted(endpoint.got) == sorted(f"k{n}" for n in range(PAGE + 3))


@pytest.mark.parametrize("same_listing", [True, False])
def test_a_round_begins_no_more_after_some_failures(store: Store, same_listing: bool) -> None:
    announce(store, 20, "L" if same_listing else "")
    endpoint = Endpoint(Sent(500, "it answers 500"))
    tried = Delivery(store, endpoint).round(store.webhooks.get(1))
    assert tried == len(endpoint.got) == (MOST_WRONG if same_listing else AT_ONCE)
    hook = store.webhooks.get(1)
    assert (hook.n_waiting, hook.cursor, hook.failures) == (tried, tried, tried)
    assert hook.detail == "it answers 500"
    rest = Delivery(store, Endpoint(Sent(204))).round(hook)
    assert rest == 20 - tried, "what was not begun is not lost"


@given(st.floats(1.0, 1.1), st.none() | st.floats(0, 1e5), st.integers(0, len(SCHEDULE_S) - 1))
@settings(max_examples=30, deadline=None)
def test_a_wait_is_that_of_the_schedule_or_what_the_endpoint_asks(
    jitter: float, asked: float | None, before: int
) -> None:
    class Nothing:
        clock = staticmethod(lambda: NOW)

    class Hook:
        url = "https://shop.example/"

        def signing(self, now: datetime) -> tuple[str, ...]:
            return ("whsec_AAAA",)

    sent = Sent(503, "busy", 1, asked)
    delivery = Delivery(Nothing(), lambda *_: sent, lambda: jitter)  # type: ignore[arg-type]
    attempt = delivery._try(Hook(), _Todo(1, todo(1, "L").event, before, NOW))  # type: ignore[arg-type]
    assert attempt.next_at is not None and attempt.attempt == before + 1
    wait_s = (attempt.next_at - NOW).total_seconds()
    assert wait_s == pytest.approx(max(SCHEDULE_S[before] * jitter, asked or 0), abs=1e-3)
    over = delivery._try(Hook(), _Todo(1, todo(1, "L").event, len(SCHEDULE_S)))  # type: ignore[arg-type]
    assert (over.outcome, over.next_at) == ("failed", None)


def test_a_wait_grows_and_a_success_makes_the_rest_due(store: Store, hands: Hands) -> None:
    announce(store, 3, "L")
    bad = Delivery(store, Endpoint(Sent(None, "timeout")))
    assert bad.round(store.webhooks.get(1)) == 3
    assert bad.round(store.webhooks.get(1)) == 0, "nothing is due yet"
    hands.now = NOW + timedelta(seconds=SCHEDULE_S[0])
    assert bad.round(store.webhooks.get(1)) == 3
    log = store.webhooks.log(1)
    assert [one.attempt for one in log] == [2, 2, 2, 1, 1, 1]
    assert all(one.first_at in (None, NOW) or one.attempt == 2 for one in log)
    hook = store.webhooks.get(1)
    assert hook.next_at == hands.now + timedelta(seconds=SCHEDULE_S[1])
    assert Delivery(store, Endpoint(Sent(204))).round(hook) == 0
    store.webhooks.disable(1, "by hand")
    assert Delivery(store, Endpoint(Sent(204))).round(store.webhooks.get(1)) == 0
    good = Endpoint(Sent(204))
    assert Delivery(store, good).round(store.webhooks.enable(1)[0]) == 3, "at once, after enabling"
    assert good.got == ["k0", "k1", "k2"]


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (299, True), (300, False), (None, False)]
)
def test_only_success_is_success(status: int | None, taken: bool) -> None:
    assert Sent(status).taken is taken


def test_a_kind_that_is_never_announced_is_refused() -> None:
    assert list(check_kinds(ANNOUNCED)) == list(ANNOUNCED)
    assert list(check_kinds([])) == []
    for wrong in ("photo.added", "Photo.failed", "", "*"):
        with pytest.raises(InputError, match=r"Allowed: 'budget\.reached'"):
            check_kinds(["photo.failed", wrong])
