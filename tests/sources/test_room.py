"""Long bodies take turns: many hosts that all send much do not fill the memory."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from listlens.core.errors import FetchError
from listlens.core.types import Reason
from listlens.sources import fetching
from listlens.sources.addresses import parse_patterns
from listlens.sources.fetching import Fetcher, FetchRules
from listlens.sources.room import SHORT_BYTES, Room

LONG = b"x" * (SHORT_BYTES + 1)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    """A fetcher with room for one long body of those below."""
    monkeypatch.setattr(fetching, "Room", lambda: Room(len(LONG)))
    rules = FetchRules(private=parse_patterns(["127.0.0.1"]), total_s=5.0, max_wait_s=0.3)
    return Fetcher(rules)


def test_a_long_body_waits_until_the_one_before_is_let_go_of_and_a_short_one_does_not(
    narrow: Fetcher, host: Any
) -> None:
    long, short = host.says("/long", "200 OK", LONG), host.says("/short", "200 OK", b"photo")
    with narrow, ThreadPoolExecutor(2) as pool:
        first = narrow.fetch(long)
        second = pool.submit(narrow.fetch, long)
        assert narrow.fetch(short).data == b"photo"
        assert not second.done()
        del first
        gc.collect()
        assert second.result(5).data == LONG


def test_one_that_waits_in_vain_may_pass_later(narrow: Fetcher, host: Any) -> None:
    long = host.says("/long", "200 OK", LONG)
    with narrow:
        kept = narrow.fetch(long)
        with pytest.raises(FetchError) as caught:
            narrow.fetch(long)
        assert caught.value.reason is Reason.BUSY
        assert kept.data == LONG
        del kept, caught
        gc.collect()
        assert narrow.fetch(long).data == LONG


def test_a_body_of_unknown_length_takes_room_for_all_that_may_come(
    narrow: Fetcher, host: Any
) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    endless, long = host.sends("/endless", head, LONG), host.says("/long", "200 OK", LONG)
    with narrow:
        kept = narrow.fetch(endless)
        assert len(kept.data) == len(LONG)
        with pytest.raises(FetchError):
            narrow.fetch(long)


def test_room_is_never_given_twice_however_many_ask() -> None:
    room, most, now, lock = Room(10), [0], [0], threading.Lock()

    def use(n_bytes: int) -> None:
        lease = room.take(n_bytes, wait_s=10)
        assert lease is not None
        with lock:
            now[0] += n_bytes
            most[0] = max(most[0], now[0])
        time.sleep(0.001)
        with lock:
            now[0] -= n_bytes
        lease.close()
        lease.close()  # does nothing

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [1, 3, 4, 6] * 25))
    assert (0 < most[0] <= 10, now[0]) == (True, 0)
